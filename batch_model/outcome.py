"""What came of one refresh, in one record: all that its report and the registry show, and nothing that they would have to look up."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec
import numpy as np

from online_model.calibration_error import Reliability, reliability
from online_model.prequential import NOTHING
from schemas.log import Metrics
from schemas.manifest import Manifest
from schemas.records import Scores
from schemas.refresh_settings import RefreshSettings

Verdict = Literal["released", "shadow", "split", "dry run", "kept", "refused", "trained"]
"""What became of the challenger: it serves; it is watched as a shadow, or serves a share; it would have been released, but nobody asked
for that; the gate kept the champion; the learner refused the release; there was nobody to compare it with and nowhere to release it."""

EXAMPLES = 3
"""Texts that stand for a confused pair."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was trained in this refresh, and how it fared on the validation part.

    Attributes:
        name: which kind of candidate.
        parameters: its hyper-parameters.
        epochs: of each pass over the training rows what was measured, by name: `train_loss`, `validation_loss` (nats),
            `validation_accuracy` (share), `seconds`, or what else there is; empty for a candidate without passes.
        validation: its scores there: `accuracy`, `macro_f1` (shares), `log_loss` (nats).
        seconds: of its training.
        chosen: whether it became the challenger.
        peak_memory_mib: of its training, where that was measured.
    """

    name: str
    parameters: dict[str, str | int | float | bool | None]
    epochs: list[Metrics] = []
    validation: Metrics
    seconds: float
    chosen: bool = False
    peak_memory_mib: float | None = None


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A label of the gate: its text, what it is, and what the two said just before they learned it, and how sure they were (0 … 1).

    A model that knew no class said null.
    """

    text: str
    true: str
    champion: str | None = None
    champion_confidence: float = 0.0
    challenger: str | None
    challenger_confidence: float


class Example(msgspec.Struct, frozen=True):
    """A text that was called wrongly, and how sure the challenger was of it (0 … 1)."""

    text: str
    confidence: float


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A true class that was called another: how often by the challenger and by the champion, and where the challenger was most sure."""

    true: str
    said: str
    times: int
    champion_times: int
    examples: list[Example]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A way to store the challenger's table.

    Attributes:
        name: `full`, `float16`, `int8`, and what else there is.
        size_bytes: of the artifact.
        predictions_per_second: one text a call, from the raw text.
        accuracy: on the gate's labels as the model stood at the cut, or on the test part.
        log_loss: there too, in nats.
        chosen: whether the release has it.
    """

    name: str
    size_bytes: int
    predictions_per_second: float
    accuracy: float
    log_loss: float | None = None
    chosen: bool = False


class Stage(msgspec.Struct, frozen=True):
    """A part of the refresh, and how long it took."""

    name: str
    seconds: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One refresh of one task.

    Attributes:
        manifest: what was made of what, and what the gate said.
        verdict: what became of it.
        reasons: why, each a sentence.
        candidates: every model that was trained.
        compared: the labels of the gate in their order; the labels of the test part if there was no champion.
        class_rows: training rows of each class.
        variants: the ways to store the table that were measured.
        stages: the parts of the refresh, in their order.
        peak_memory_mib: of the process, over the whole refresh.
        settings: of the refresh.
        command: what repeats it on the command line.
        test: the challenger's scores on a part of the file that was kept for that; null for a refresh from the log.
    """

    manifest: Manifest
    verdict: Verdict
    reasons: list[str]
    candidates: list[Candidate]
    compared: list[Compared]
    class_rows: dict[str, int]
    variants: list[Variant] = []
    stages: list[Stage]
    peak_memory_mib: float
    settings: RefreshSettings
    command: str
    test: Scores | None = None

    @property
    def with_champion(self) -> bool:
        """Whether there was a champion to compare with."""
        return self.manifest.gate is not None


def confusion(compared: list[Compared], who: Literal["champion", "challenger"]) -> Counter[tuple[str, str]]:
    """Return how often each class was called what, (true, said)."""
    return Counter((one.true, getattr(one, who) or NOTHING) for one in compared)


def calibration(compared: list[Compared], who: Literal["champion", "challenger"]) -> Reliability:
    """Return the reliability bins of one of the two."""
    confidences = np.array([getattr(one, f"{who}_confidence") for one in compared], dtype=np.float64)
    return reliability(confidences, np.array([getattr(one, who) == one.true for one in compared], dtype=np.bool_))


def confused_pairs(compared: list[Compared], most: int) -> list[Pair]:
    """Return the challenger's most frequent mistakes, at most `most`, each with the different texts on which it was most sure."""
    mine, champions = confusion(compared, "challenger"), confusion(compared, "champion")
    frequent = sorted(((pair, n) for pair, n in mine.items() if pair[0] != pair[1]), key=lambda item: (-item[1], item[0]))[:most]
    texts: dict[tuple[str, str], dict[str, float]] = {pair: {} for pair, _ in frequent}
    for one in compared:
        found = texts.get((one.true, one.challenger or NOTHING))
        if found is not None:
            found[one.text] = max(found.get(one.text, 0.0), one.challenger_confidence)
    return [
        Pair(true=true, said=said, times=times, champion_times=champions[true, said], examples=_surest(texts[true, said]))
        for (true, said), times in frequent
    ]


def _surest(texts: dict[str, float]) -> list[Example]:
    order = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    return [Example(text, confidence) for text, confidence in order[:EXAMPLES]]
