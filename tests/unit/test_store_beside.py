"""A second replica beside the one that serves, with real models and a loader that the test holds in its hands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from online_model.models import TextModel
from online_model.replica import LogGap, Replica
from schemas.log import AnyLogEntry, DropEntry, LabelEntry, Origin, ReleaseEntry, RollbackEntry
from schemas.records import FeedbackRef, Position
from store.beside import Beside

pytestmark = pytest.mark.unit

TEXTS = ("good day to you", "pay me now", "hello there", "money money")


def label(seq: int) -> LabelEntry:
    return LabelEntry(
        seq=seq,
        task="default",
        time=seq,
        event_id=str(seq),
        text=TEXTS[seq % 4],
        meta={},
        label="gm"[seq % 2],
        weight=1.0,
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


def release(seq: int, line: str) -> ReleaseEntry:
    return ReleaseEntry(seq=seq, task="default", time=seq, line=line, by="test", why="", origin=Origin())


def new_replica() -> Replica:
    return Replica("default", memory_mib=1)


class Log:
    """A committed log, and a loader of it that waits until it may go on, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.entries: list[AnyLogEntry] = []
        self.may_load = threading.Event()
        self.may_load.set()
        self.failures = 0
        self.without = 0
        self.loads = 0

    def add(self, entry: AnyLogEntry, beside: Beside | None = None) -> None:
        self.entries.append(entry)
        if beside is not None:
            beside.apply(entry)

    def load(self) -> Replica:
        self.loads += 1
        entries = list(self.entries)
        assert self.may_load.wait(30)
        if self.failures:
            self.failures -= 1
            raise OSError("the artifact cannot be read now")
        if self.without:
            self.without -= 1
            replica = new_replica()
            for entry in entries:
                replica.apply(entry)
            return replica
        return replayed(entries)


def replayed(entries: list[AnyLogEntry]) -> Replica:
    """Return the replica that was given every line's model: all began empty here, at 0."""
    replica = new_replica()
    for entry in entries:
        replica.apply(entry, brought=model_at(entries, entry.seq) if isinstance(entry, ReleaseEntry | RollbackEntry) else None)
    return replica


def model_at(entries: list[AnyLogEntry], seq: int) -> TextModel:
    model = new_replica().model
    for entry in entries:
        if isinstance(entry, LabelEntry) and entry.seq < seq:
            model.learn_one(entry.text, entry.label, entry.weight)
    return model


@pytest.fixture
def log() -> Log:
    log = Log()
    for seq in range(1, 21):
        log.add(label(seq))
    return log


@pytest.fixture
def beside(log: Log) -> Iterator[Beside]:
    beside = Beside(replayed(log.entries), log.load, first_wait_s=0.01)
    yield beside
    log.may_load.set()
    beside.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("build ")]


def until(beside: Beside, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        beside.step()
        time.sleep(0.001)


def test_serves_its_line_until_the_new_one_has_caught_up(log: Log, beside: Beside) -> None:
    log.may_load.clear()
    first = beside.replica
    log.add(release(21, "r1"), beside)
    for seq in range(22, 60):
        log.add(label(seq), beside)
        served = beside.replica.predict("good money", top=2)
        assert (served.model.line, served.model.seq) == ("base", seq)
    assert beside.loading
    log.may_load.set()
    until(beside, lambda: beside.replica.line == "r1")
    assert beside.replica is not first
    assert (beside.replica.seq, beside.loading, log.loads) == (59, False, 1)
    assert beside.replica.fingerprint() == replayed(log.entries).fingerprint()
    log.add(label(60), beside)
    assert beside.replica.predict("good money", top=2) == replayed(log.entries).predict("good money", top=2)


def test_what_comes_after_the_load_is_applied_in_steps_and_takes_over_when_nothing_is_left(log: Log, beside: Beside) -> None:
    log.add(release(21, "r1"), beside)
    building = beside._building
    assert building is not None
    assert building._ended.wait(30)
    for seq in range(22, 400):
        log.entries.append(label(seq))
        beside.replica.apply(label(seq))
        building.add(label(seq))
    beside.step(within_s=0.0)
    assert beside.replica.line == "base", "one step of no time applies one entry"
    until(beside, lambda: beside.replica.line == "r1")
    assert beside.replica.seq == 399
    assert beside.replica.fingerprint() == replayed(log.entries).fingerprint()


def test_a_load_that_fails_is_tried_again_and_serving_goes_on(log: Log, beside: Beside, caplog: pytest.LogCaptureFixture) -> None:
    log.failures = 3
    log.add(release(21, "r1"), beside)
    for seq in range(22, 40):
        log.add(label(seq), beside)
        assert beside.replica.predict("good money", top=2).label is not None
    until(beside, lambda: beside.replica.line == "r1")
    assert log.loads == 4
    assert sum("the artifact cannot be read now" in record.message for record in caplog.records) == 3
    assert beside.replica.fingerprint() == replayed(log.entries).fingerprint()


def test_a_load_without_the_missing_line_does_not_take_over(log: Log, beside: Beside, caplog: pytest.LogCaptureFixture) -> None:
    log.without, first = 2, beside.replica
    log.add(release(21, "r1"), beside)
    until(beside, lambda: log.loads == 3)
    assert beside.replica is first
    until(beside, lambda: beside.replica.line == "r1")
    assert sum("the models of r1 cannot be had" in record.message for record in caplog.records) == 2


def test_a_change_during_a_load_is_held_as_well_in_the_end(log: Log, beside: Beside) -> None:
    log.may_load.clear()
    log.add(release(21, "r1"), beside)
    log.add(label(22), beside)
    log.add(release(23, "r2"), beside)
    log.add(label(24), beside)
    log.may_load.set()
    until(beside, lambda: beside.replica.line == "r2" and not beside.loading)
    assert (beside.replica.seq, beside.replica.roles, beside.replica.missing) == (24, {"r1": "former"}, frozenset())
    assert log.loads in (1, 2), "the first load reads the log as it is when it begins, or later"
    assert beside.replica.fingerprint() == replayed(log.entries).fingerprint()


def test_a_line_that_is_taken_back_while_it_loads_is_not_waited_for(log: Log, beside: Beside) -> None:
    log.may_load.clear()
    first = beside.replica
    log.add(release(21, "r1"), beside)
    log.add(RollbackEntry(seq=22, task="default", time=22, line="base", by="test", why="", origin=Origin(), replaces="r1"), beside)
    assert not beside.replica.missing
    assert not beside.loading
    log.may_load.set()
    log.add(label(23), beside)
    assert beside.replica is first
    assert beside.replica.fingerprint() == replayed(log.entries).fingerprint()


def test_a_shadow_is_loaded_and_dropped_without_a_change_of_the_champion(log: Log, beside: Beside) -> None:
    entry = ReleaseEntry(seq=21, task="default", time=21, line="s1", by="test", why="", origin=Origin(), mode="shadow")
    log.add(entry, beside)
    assert beside.replica.shadow_predictions("good money", top=2) == []
    until(beside, lambda: not beside.loading)
    assert [served.model.line for served in beside.replica.shadow_predictions("good money", top=2)] == ["s1"]
    log.add(DropEntry(seq=22, task="default", time=22, line="s1", by="test", why=""), beside)
    assert (beside.replica.line, beside.replica.roles, beside.loading) == ("base", {}, False)


def test_a_load_that_stands_before_what_is_served_is_begun_again(log: Log, beside: Beside) -> None:
    """As if the loader had read from a broker that lags behind."""
    committed, log.entries = log.entries, log.entries[:10]
    beside.apply(release(21, "r1"))
    until(beside, lambda: log.loads >= 2)
    assert beside.replica.line == "base"
    log.entries = [*committed, release(21, "r1")]
    until(beside, lambda: beside.replica.line == "r1")
    assert beside.replica.seq == 21


def test_a_gap_in_the_log_is_told_to_the_caller(beside: Beside) -> None:
    with pytest.raises(LogGap):
        beside.apply(label(22))


def test_closing_in_the_middle_of_a_wait_leaves_no_thread(log: Log) -> None:
    beside = Beside(replayed(log.entries), log.load, first_wait_s=60)
    log.failures = 1
    beside.apply(release(21, "r1"))
    while not log.loads:
        time.sleep(0.001)
    began = time.monotonic()
    beside.close()
    assert time.monotonic() - began < 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("build ")]


def test_a_load_that_lacks_a_line_that_is_held_does_not_take_over(log: Log) -> None:
    """Its artifact is gone, say, and the snapshot that holds it could not be read: the champion itself would serve no more."""
    log.add(release(21, "r1"))
    log.add(msgspec.structs.replace(release(22, "r2"), mode="shadow"))
    held = replayed(log.entries[:-1])
    loads: list[Replica] = []

    def load() -> Replica:
        replica = new_replica()
        for entry in log.entries:
            brought = entry.seq == 22 or (entry.seq == 21 and len(loads) == 2)
            replica.apply(entry, brought=model_at(log.entries, entry.seq) if brought else None)
        loads.append(replica)
        return replica

    held.apply(log.entries[-1])
    assert held.line == "r1"
    assert held.missing == {"r2"}
    beside = Beside(held, load, first_wait_s=0.01)
    until(beside, lambda: beside.replica.line != "r1" or not beside.replica.missing)
    beside.close()
    assert (beside.replica.line, len(loads)) == ("r1", 3)
