"""How sure the served predictions of the last labels were, from the entries of a log."""

from __future__ import annotations

import msgspec
import pytest

from online_model.confidences import Confidences
from schemas.log import AnyLogEntry, LabelEntry, VerdictEntry
from schemas.records import FeedbackRef, ModelVersion, Position, Served
from tests.integration.played_learner import label, release, snapshot

pytestmark = pytest.mark.unit


def served(said: str | None, **proba: float) -> Served:
    return Served(label=said, proba=proba, classes=9, model=ModelVersion(line="base", seq=0))


def entry(seq: int, truth: str, said: Served | None, corrects: str | None = None) -> LabelEntry:
    return msgspec.structs.replace(label(seq), label=truth, served=said, corrects=corrects)


def test_the_last_labels_that_score_a_prediction() -> None:
    confidences = Confidences(window=3)
    entries: list[AnyLogEntry] = [
        entry(1, "a", served("a", a=0.9)),
        entry(2, "a", served("b", b=0.6, a=0.4)),
        snapshot(3),
        entry(4, "a", None),
        entry(5, "b", served("a", a=0.8), corrects="a"),
        entry(6, "a", served(None)),
        release(7, "r1-a", time_ms=1),
    ]
    for each in entries:
        confidences.apply(each)
    assert confidences.known() == [(0.9, True), (0.6, False)]
    for seq in (8, 9):
        confidences.apply(entry(seq, "c", served("c", c=0.5)))
    assert confidences.known() == [(0.6, False), (0.5, True), (0.5, True)]
    ref = FeedbackRef(at=Position(partition=0, offset=10), verdict="wrong")
    denied = served("c", c=0.7)
    confidences.apply(VerdictEntry(seq=10, task="default", time=1, event_id="e", weight=1.0, served=denied, feedback=ref))
    confidences.apply(msgspec.structs.replace(entry(11, "b", denied), marked=True))
    assert confidences.known() == [(0.5, True), (0.5, True), (0.7, False)], "a label after a `wrong` scores nothing more"
