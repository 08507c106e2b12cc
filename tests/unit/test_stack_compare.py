"""The comparison of two installations: what counts as the same model, and what as a difference."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from schemas.log import AnyLogEntry, Artifact, LabelEntry, Origin, RefusalEntry, ReleaseEntry, SnapshotEntry
from schemas.records import DeadLetter, FeedbackRef, ModelVersion, Position, Prediction, Reason
from stack.compare import Answers, Comparison, Log, Refused, Standing, compare, compare_refused
from stack.compare_command import Result, in_words

pytestmark = pytest.mark.unit


def said(event_id: str, label: str | None, seq: int, *, line: str = "base", proba: float = 0.9) -> Prediction:
    return Prediction(
        label=label,
        proba={label: proba} if label else {},
        classes=2,
        model=ModelVersion(line=line, seq=seq),
        event_id=event_id,
        task="default",
        text="t",
        meta={},
        event_ts=0,
        predicted_at=0,
        source=Position(partition=0, offset=0),
    )


def learned(seq: int, event_id: str, label: str, *, time: int = 0, weight: float = 1.0) -> LabelEntry:
    at = FeedbackRef(at=Position(partition=0, offset=seq))
    return LabelEntry(seq=seq, task="default", time=time, event_id=event_id, text="t", meta={}, label=label, weight=weight, feedback=at)


def snapshot(seq: int) -> SnapshotEntry:
    return SnapshotEntry(seq=seq, task="default", time=0, at_seq=seq - 1, line="base", address="a", sha256="s", size_bytes=1)


def released(seq: int, sha256: str) -> ReleaseEntry:
    origin = Origin(artifact=Artifact(address="a", sha256=sha256, size_bytes=1), cut_seq=1)
    return ReleaseEntry(seq=seq, task="default", time=0, line="r1", by="x", why="", origin=origin)


def compared(
    first: Iterable[Prediction], second: Iterable[Prediction], log: list[AnyLogEntry], other: list[AnyLogEntry] | None = None
) -> Comparison:
    answers = Answers(), Answers()
    for one, predictions in zip(answers, (first, second), strict=True):
        for prediction in predictions:
            one.add(prediction)
    return compare("default", answers, (Log(log), Log(log if other is None else other)))


LOG: list[AnyLogEntry] = [learned(1, "a", "x"), learned(2, "b", "y"), learned(3, "c", "x")]


def test_the_same_said_by_the_same_model_is_no_difference() -> None:
    predictions = [said("a", None, 0), said("b", "x", 1), said("c", "y", 2)]
    found = compared(predictions, predictions, LOG)
    assert (found.both, found.only, found.same_label, found.same_model, found.same_seq, found.differing) == (3, (0, 0), 3, 3, 3, 0)
    assert (found.logs.entries, found.logs.same, found.logs.difference) == ((3, 3), 3, None)


@pytest.mark.parametrize("other", [said("b", "y", 1), said("b", "x", 1, proba=0.899999)])
def test_the_same_model_that_says_another_thing_is_a_difference(other: Prediction) -> None:
    found = compared([said("b", "x", 1)], [other], LOG)
    assert (found.same_model, found.differing, found.examples) == (1, 1, ["b"])


def test_another_model_may_say_another_thing() -> None:
    by_seq = compared([said("b", "x", 1)], [said("b", "y", 2)], LOG)
    by_line = compared([said("b", "x", 1)], [said("b", "y", 1, line="r1")], LOG)
    for found in (by_seq, by_line):
        assert (found.both, found.same_model, found.differing, found.label_examples) == (1, 0, 0, ["b"])


def test_the_same_seq_of_another_log_is_another_model() -> None:
    other: list[AnyLogEntry] = [learned(1, "b", "y"), learned(2, "a", "x"), learned(3, "c", "x")]
    found = compared([said("c", "x", 2)], [said("c", "y", 2)], LOG, other)
    assert (found.same_model, found.differing) == (0, 0)
    assert found.logs.same == 0
    assert found.logs.difference is not None
    assert (found.logs.difference.first, found.logs.difference.second) == ("seq 1: label 'x' of event a", "seq 1: label 'y' of event b")


def test_times_and_snapshots_make_no_other_model() -> None:
    refused = RefusalEntry(seq=2, task="default", time=0, line="r1", by="x", why="", do="serve")
    other: list[AnyLogEntry] = [
        learned(1, "a", "x", time=7),
        refused,
        snapshot(3),
        learned(4, "b", "y", time=9),
        snapshot(5),
        learned(6, "c", "x"),
    ]
    found = compared([said("c", "x", 2), said("d", "x", 3)], [said("c", "y", 5), said("d", "x", 6)], LOG, other)
    assert (found.same_model, found.same_seq, found.differing, found.examples) == (2, 0, 1, ["c"])
    assert (found.logs.entries, found.logs.changing, found.logs.same) == ((3, 6), (3, 3), 3)


@pytest.mark.parametrize(
    "other",
    [learned(3, "c", "y"), learned(3, "d", "x"), learned(3, "c", "x", weight=2.0), released(3, "s")],
    ids=["another label", "another event", "another weight", "a release"],
)
def test_logs_part_where_an_entry_teaches_another_thing(other: AnyLogEntry) -> None:
    found = compared([said("e", "x", 2), said("f", "x", 3)], [said("e", "x", 2), said("f", "y", 3)], LOG, [*LOG[:2], other])
    assert (found.logs.same, found.same_model, found.differing) == (2, 1, 0)


def test_a_release_is_another_one_with_another_artifact() -> None:
    first, second = [*LOG, released(4, "s")], [*LOG, released(4, "other")]
    found = compared([said("e", "x", 4, line="r1")], [said("e", "y", 4, line="r1")], first, second)
    assert (found.logs.same, found.same_model) == (3, 0)
    assert compared([said("e", "x", 4, line="r1")], [said("e", "y", 4, line="r1")], first).differing == 1


def test_a_log_without_its_beginning_is_like_no_other() -> None:
    found = compared([said("c", "x", 3)], [said("c", "y", 3)], LOG[1:], LOG[1:])
    assert (found.same_model, found.logs.same) == (0, 0)


def test_a_prediction_beyond_the_log_is_by_no_known_model() -> None:
    assert compared([said("c", "x", 9)], [said("c", "y", 9)], LOG).same_model == 0


def test_a_log_that_is_longer_is_no_difference() -> None:
    found = compared([said("c", "x", 2)], [said("c", "x", 2)], LOG, LOG[:2])
    assert (found.logs.changing, found.logs.same, found.logs.difference, found.same_model) == ((3, 2), 2, None, 1)


def test_events_are_counted_once_for_each_record() -> None:
    found = compared([said("a", "x", 1), said("a", "y", 2), said("b", "x", 2)], [said("a", "x", 1), said("c", "x", 2)], LOG)
    assert (found.both, found.only, found.same_label) == (1, (2, 1), 1)


def letter(sha256: str, reason: Reason = Reason.NOT_JSON) -> DeadLetter:
    return DeadLetter(topic="events", partition=0, offset=0, reason=reason, detail="", length=1, sha256=sha256, head="", time=0)


def test_refused_records_are_the_same_by_bytes_and_reason() -> None:
    found = compare_refused([letter("a"), letter("a"), letter("b")], [letter("a"), letter("b", Reason.NOT_UTF8), letter("c")])
    assert found == Refused(both=1, only=(2, 2))


def test_the_words_name_events_and_no_texts() -> None:
    found = compared(
        [said("e1", "x", 2), said("e2", "x", 1)], [said("e1", "y", 2), said("e2", "y", 2)], LOG, [*LOG[:2], learned(3, "d", "x")]
    )
    standing = Standing(labels=200, accuracy=0.75, window_accuracy=0.8), Standing()
    result = Result(
        prefixes=("", "green-"), tasks=[msgspec.structs.replace(found, standing=standing)], refused=Refused(both=1, only=(0, 2))
    )
    assert in_words(result).splitlines() == [
        "task default: 2 events answered by both, 0 only by (no prefix), 0 only by green-",
        "  same label: 0 (0.00%)",
        "  by the same model: 1 (50.00%), 1 at the same seq: 1 DIFFER",
        "  model log: 3 and 3 entries, 3 and 3 of them change a model; the first 2 of these are the same",
        "    then (no prefix) has seq 3: label 'x' of event c; green- has seq 3: label 'x' of event d",
        "  accuracy of (no prefix): 75.00% of 200 labels, of the newest 80.00%",
        "  accuracy of green-: no labels yet",
        "  the same model said two things of: e1",
        "  different models, different labels, for instance: e2",
        "refused: 1 records by both, 0 only by (no prefix), 2 only by green- (millrace dead-letters list)",
    ]
