"""The manifest of a release: what a refresh made, from what, and what its gate said. Stored as JSON beside the artifact.

It is what `store` knows of a release without torch or MLflow. What became of the release says the model log alone.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.log import Metrics, Origin
from schemas.records import EpochMs, Record, Scores


class DataSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was trained on, so that it can be brought together again.

    Attributes:
        source: `log`, or the name of a file.
        first_seq: the first entry of the model log that was looked at; 0 for a file.
        cut_seq: the last one.
        window_labels: only so many of the newest labels were used; null for all.
        window_ms: only labels so much younger than the last one; null for all.
        rows: labels that were used, after duplicates and corrections.
        classes: how many classes they name.
        fingerprint: SHA-256 of exactly these rows, hexadecimal.
    """

    source: str
    first_seq: int = 0
    cut_seq: int = 0
    window_labels: int | None = None
    window_ms: int | None = None
    rows: int
    classes: int
    fingerprint: str


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """A behavioural case: a text, what was required or forbidden of its label, and what the challenger said."""

    text: str
    required: str | None = None
    forbidden: str | None = None
    predicted: str | None = None
    passed: bool


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate said: champion and challenger, both from the training cut on, predicted and learned the same labels in order.

    Attributes:
        passed: whether the challenger may be released.
        reasons: why, or why not, each as a sentence.
        champion_line: the line that served then.
        labels: how many labels compared them.
        champion: its scores over them.
        challenger: the challenger's.
        only_champion: labels that only the champion got right.
        only_challenger: labels that only the challenger got right.
        p_value: of McNemar's exact test, one-sided: how probable so many or more wins of the challenger are by chance.
        p_log_loss: of the paired t-test on the labels' log losses, one-sided: how probable so much less of it is by chance.
        fallen: classes that fell by more than is allowed, and more than chance explains.
        cases: the behavioural cases.
    """

    passed: bool
    reasons: list[str]
    champion_line: str
    labels: int
    champion: Scores
    challenger: Scores
    only_champion: int
    only_challenger: int
    p_value: float
    p_log_loss: float = 1.0
    fallen: list[str] = []
    cases: list[CaseResult] = []


class Manifest(Record, frozen=True, kw_only=True):
    """A release of one task, as its refresh left it.

    Attributes:
        task: the task.
        line: the line that it would begin.
        created_at: when it was made.
        by: who or what asked for the refresh.
        why: for what reason.
        origin: artifact and training cut.
        specification: of its model (see `online_model.specification`).
        parent: the line whose table it was trained on top of, null if none.
        candidate: which kind of candidate won.
        variant: how the table is stored.
        parameters: hyper-parameters of the training.
        metrics: what was measured while it was made; seconds, MiB, shares, nats as the names say.
        data: what it was trained on.
        gate: what the gate said; null if there was nothing to compare with.
        versions: of the libraries that made it.
    """

    task: str
    line: str
    created_at: EpochMs
    by: str
    why: str
    origin: Origin
    specification: str
    parent: str | None
    candidate: str
    variant: Literal["full", "float16", "int8"] = "full"
    parameters: dict[str, str | int | float | bool | None]
    metrics: Metrics
    data: DataSpec
    gate: Gate | None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
