"""What is kept of a model log: all that changes what is served, and of labels how many and when."""

from __future__ import annotations

import msgspec
import pytest

from schemas.log import RefusalEntry, VerdictEntry
from schemas.parsing import encode
from schemas.records import FeedbackRef, ModelVersion, Position, Served
from store import model_feed
from store.model_feed import TaskLog
from store.model_history import ModelHistory
from tests.integration.played_learner import label, release, snapshot

pytestmark = pytest.mark.unit


def refusal(seq: int) -> RefusalEntry:
    return RefusalEntry(seq=seq, task="default", time=seq, line="r1-a", by="ann", why="no", do="drop", command_id=f"c{seq}")


def verdict(seq: int) -> VerdictEntry:
    served = Served(label="a", proba={"a": 1.0}, classes=1, model=ModelVersion(line="base", seq=0))
    ref = FeedbackRef(at=Position(partition=0, offset=seq))
    return VerdictEntry(seq=seq, task="default", time=99, event_id=f"e{seq}", weight=1.0, served=served, feedback=ref)


def test_a_verdict_is_no_label() -> None:
    log = TaskLog()
    log.take([encode(entry) for entry in (label(1, time_ms=11), verdict(2), label(3, time_ms=33), verdict(4))])
    assert (log.seq, log.last_label_at) == (4, 33)
    assert [log.labels_after(seq) for seq in range(5)] == [2, 1, 1, 0, 0]


def test_labels_are_counted_from_any_entry_on() -> None:
    log = TaskLog()
    entries = [label(1), label(2), snapshot(3), label(4), release(5, "r1-a", time_ms=1), refusal(6), label(7, time_ms=77), snapshot(8)]
    log.take([encode(entry) for entry in entries[:3]])
    log.take([encode(entry) for entry in entries[3:]])
    assert (log.seq, log.last_label_at) == (8, 77)
    assert [log.labels_after(seq) for seq in range(9)] == [4, 3, 2, 2, 1, 1, 1, 0, 0]
    assert [change.seq for change in log.changes] == [5]
    assert [change.seq for change in log.refusals] == [6]
    answer = log.answer_to("c6")
    assert answer is not None
    assert answer.seq == 6
    assert log.answer_to("c7") is None


def test_labels_that_retention_has_removed_are_not_counted() -> None:
    log = TaskLog()
    log.take([encode(entry) for entry in (label(1001), snapshot(1002), label(1003))])
    log.take([encode(label(1004))])
    assert [log.labels_after(seq) for seq in (0, 900, 1000, 1001, 1003, 1004)] == [3, 3, 3, 2, 1, 0]


def test_a_label_is_a_label_however_its_fields_are_ordered() -> None:
    fields = msgspec.json.decode(encode(label(3, time_ms=33)))
    turned = msgspec.json.encode(dict(reversed(fields.items())))
    assert not turned.startswith(model_feed._LABEL)
    assert encode(label(3)).startswith(model_feed._LABEL)
    log = TaskLog()
    log.take([turned])
    assert (log.seq, log.last_label_at, log.labels_after(2)) == (3, 33, 1)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_feed, "REFUSALS_KEPT", 5)
    monkeypatch.setattr(model_feed, "CHANGES_KEPT", 7)
    monkeypatch.setattr(model_feed, "_OTHERS_KEPT", 10)
    log = TaskLog()
    log.take([encode(refusal(seq)) for seq in range(1, 101)])
    log.take([encode(release(seq, f"r{seq}-a", time_ms=seq)) for seq in range(101, 201)])
    assert [len(log.refusals), len(log.changes), len(log._answers)] == [5, 7, 7]
    assert len(log._others) <= 10
    assert log.changes[-1].line == "r200-a"
    assert log.labels_after(199) == 0


def test_the_first_answer_to_a_command_counts_also_if_its_producer_has_sent_it_twice() -> None:
    log, history = TaskLog(), ModelHistory("default")
    done = msgspec.structs.replace(release(1, "r1-a", time_ms=1), command_id="c1")
    again = msgspec.structs.replace(refusal(2), command_id="c1")
    log.take([encode(done), encode(again)])
    for entry in (done, again):
        history.add(entry)
    assert log.answer_to("c1") == history.answer_to("c1") == done


def test_a_copy_stays_as_it_was() -> None:
    log = TaskLog()
    log.take([encode(release(1, "r1-a", time_ms=1))])
    copied = log.copy()
    log.take([encode(release(2, "r2-b", time_ms=2))])
    assert ([change.line for change in copied.changes], copied.seq) == (["r1-a"], 1)


def test_something_that_is_no_entry_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        TaskLog().take([b'{"kind":"nothing"}'])
