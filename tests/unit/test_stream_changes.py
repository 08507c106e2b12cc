"""Which change of a task's lines comes next: repairs, decided trials, commands in their order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from online_model.models import TextModel
from online_model.replica import Replica
from schemas.log import (
    AnyLogEntry,
    Artifact,
    Command,
    DropEntry,
    LabelEntry,
    Origin,
    PromoteEntry,
    RefusalEntry,
    ReleaseEntry,
    RollbackEntry,
)
from schemas.records import FeedbackRef, Position
from schemas.settings import Settings
from store.artifacts import ArtifactFolder
from store.connect import KafkaUnavailable
from store.lines import ReleaseUnusable
from stream.changes import MOST_WAITING, Changes
from stream.commands import Asked
from stream.snapshotter import Snapshotter

pytestmark = pytest.mark.unit

TASK = "default"
ORIGIN = Origin(artifact=Artifact(address="a", sha256="b", size_bytes=1), cut_seq=5)
TEXTS = ("good day to you", "pay me now", "hello there", "money money")


def label(seq: int) -> LabelEntry:
    at = Position(partition=0, offset=seq)
    values: dict[str, Any] = {"text": TEXTS[seq % 4], "meta": {}, "label": "gm"[seq % 2], "weight": 1.0, "feedback": FeedbackRef(at=at)}
    return LabelEntry(seq=seq, task=TASK, time=seq, event_id=str(seq), **values)


def asked(number: int, do: Any, line: str | None = "r1", **more: Any) -> Asked:
    command = Command(command_id=f"c{number}", task=TASK, do=do, line=line, by="test", **more)
    return Asked(command=command, at=Position(partition=0, offset=number))


class Builder:
    """Builds a line from the labels that it knows, when it may, unless it is told what is wrong."""

    def __init__(self) -> None:
        self.may_build = threading.Event()
        self.may_build.set()
        self.problems: list[Exception] = []
        self.built = 0

    def __call__(self, _settings: Settings, _task: str, _line: str, _origin: Origin, up_to_seq: int, _closed: threading.Event) -> TextModel:
        assert self.may_build.wait(30)
        if self.problems:
            raise self.problems.pop(0)
        self.built += 1
        model = new_replica().model
        for seq in range(1, up_to_seq + 1):
            entry = label(seq)
            model.learn_one(entry.text, entry.label)
        return model


def new_replica(labels: int = 0) -> Replica:
    replica = Replica(TASK, memory_mib=1)
    for seq in range(1, labels + 1):
        replica.apply(label(seq))
    return replica


def next_entry(changes: Changes, replica: Replica, *, wait: bool = True) -> AnyLogEntry | None:
    """Return the next change, applied; with `wait` it must come."""
    deadline = time.monotonic() + 30
    while (change := changes.due(replica, 1000)) is None:
        if not wait:
            return None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    replica.apply(change.entry, brought=change.brought)
    changes.learned(change.entry)
    return change.entry


def learn(changes: Changes, replica: Replica, labels: int) -> None:
    for _ in range(labels):
        entry = label(replica.seq + 1)
        replica.apply(entry)
        changes.learned(entry)


@pytest.fixture
def build() -> Builder:
    return Builder()


@pytest.fixture
def make(build: Builder) -> Callable[..., Changes]:
    return lambda *commands, **settings: Changes(Settings(**settings), commands, build)


def test_a_line_takes_over_with_all_labels_that_came_while_it_was_built(make: Callable[..., Changes], build: Builder) -> None:
    replica, changes = new_replica(20), make(asked(1, "serve", origin=ORIGIN))
    build.may_build.clear()
    assert next_entry(changes, replica, wait=False) is None
    learn(changes, replica, 50)
    assert next_entry(changes, replica, wait=False) is None
    build.may_build.set()
    entry = next_entry(changes, replica)
    assert isinstance(entry, ReleaseEntry)
    assert (entry.seq, entry.line, entry.command_id, replica.line, replica.roles) == (71, "r1", "c1", "r1", {"base": "former"})
    assert replica.fingerprint("r1") == replica.fingerprint("base"), "it has learned the same labels, each once"
    assert not changes.asked


def test_commands_are_answered_in_order_also_those_that_need_nothing_built(make: Callable[..., Changes], build: Builder) -> None:
    replica = new_replica(20)
    changes = make(asked(1, "shadow", origin=ORIGIN), asked(2, "drop", "r1"), asked(3, "rollback", None))
    build.may_build.clear()
    assert next_entry(changes, replica, wait=False) is None
    build.may_build.set()
    found = [next_entry(changes, replica) for _ in range(3)]
    assert [type(entry) for entry in found] == [ReleaseEntry, DropEntry, RefusalEntry]
    assert next_entry(changes, replica, wait=False) is None


def test_what_needs_nothing_built_overtakes_a_line_that_is_being_built(make: Callable[..., Changes], build: Builder) -> None:
    replica, changes = new_replica(20), make(asked(1, "serve", origin=ORIGIN))
    next_entry(changes, replica)
    build.may_build.clear()
    for number, (do, line) in enumerate((("shadow", "r2"), ("drop", "r2"), ("rollback", None)), 2):
        changes.ask(replica, asked(number, do, line, origin=ORIGIN if do == "shadow" else None), 1000)
    entry = next_entry(changes, replica, wait=False)
    assert isinstance(entry, RollbackEntry)
    assert (entry.command_id, replica.line) == ("c4", "base")
    assert next_entry(changes, replica, wait=False) is None, "the drop is about the line that is being built"
    build.may_build.set()
    found = [next_entry(changes, replica), next_entry(changes, replica)]
    assert [type(one) for one in found] == [ReleaseEntry, DropEntry]


def test_no_more_commands_wait_than_the_state_has_room_for(make: Callable[..., Changes], build: Builder) -> None:
    replica, changes = new_replica(20), make()
    build.may_build.clear()
    for number in range(MOST_WAITING):
        assert changes.ask(replica, asked(number, "serve", origin=ORIGIN), 1000) is None
        assert changes.due(replica, 1000) is None
    refused = changes.ask(replica, asked(MOST_WAITING, "drop", "r1"), 1000)
    assert refused is not None
    assert isinstance(refused.entry, RefusalEntry)
    assert (refused.entry.command_id, len(changes.asked)) == (f"c{MOST_WAITING}", MOST_WAITING)
    build.may_build.set()
    changes.close()


def test_what_cannot_be_built_is_refused_and_an_outage_is_waited_out(make: Callable[..., Changes], build: Builder) -> None:
    replica, changes = new_replica(20), make(asked(1, "serve", origin=ORIGIN), asked(2, "serve", origin=ORIGIN))
    build.problems = [ReleaseUnusable("the artifact is of another model"), KafkaUnavailable("no broker")]
    entry = next_entry(changes, replica)
    assert isinstance(entry, RefusalEntry)
    assert (entry.command_id, entry.do, replica.line) == ("c1", "serve", "base")
    assert "the artifact is of another model" in entry.why
    assert isinstance(next_entry(changes, replica), ReleaseEntry)
    assert (build.built, replica.line) == (1, "r1")


def test_a_command_that_goes_stale_while_its_line_is_built_is_refused(make: Callable[..., Changes], build: Builder) -> None:
    replica, changes = new_replica(20), make(asked(1, "serve", origin=ORIGIN, against="base"))
    build.may_build.clear()
    assert next_entry(changes, replica, wait=False) is None
    other = ReleaseEntry(seq=21, task=TASK, time=1, line="r0", by="test", why="", origin=Origin())
    replica.apply(other, brought=new_replica(20).model)
    changes.learned(other)
    entry = next_entry(changes, replica)
    assert isinstance(entry, RefusalEntry)
    assert "meant to replace base" in entry.why
    build.may_build.set()
    changes.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("build ")]


def test_a_decided_trial_comes_before_commands(make: Callable[..., Changes]) -> None:
    """The shadow has learned the labels, the line that serves has learned nonsense."""
    replica, taught = new_replica(), new_replica(40).model
    for seq in range(1, 41):
        replica.model.learn_one(label(seq).text, f"wrong {seq % 3}")
    replica.seq = 40
    replica.apply(ReleaseEntry(seq=41, task=TASK, time=1, line="s1", by="test", why="", origin=Origin(), mode="shadow"), brought=taught)
    changes = make(trial_least_labels=8, trial_error=0.4)
    learn(changes, replica, 7)
    assert next_entry(changes, replica, wait=False) is None
    learn(changes, replica, 1)
    changes.asked.append(asked(1, "drop", "nobody"))
    first, second = next_entry(changes, replica), next_entry(changes, replica)
    assert isinstance(first, PromoteEntry)
    assert (first.line, first.replaces, first.by) == ("s1", "base", "trial")
    assert isinstance(second, RefusalEntry)


def test_a_learner_that_lacks_the_model_of_the_champion_says_so_in_the_log(make: Callable[..., Changes]) -> None:
    replica, changes = new_replica(5), make()
    replica.apply(ReleaseEntry(seq=6, task=TASK, time=1, line="r1", by="test", why="", origin=ORIGIN))
    assert replica.missing == {"r1"}
    found = []
    while (entry := next_entry(changes, replica, wait=False)) is not None:
        found.append(entry)
    assert isinstance(found[0], RollbackEntry)
    assert (replica.champion, replica.missing) == ("base", frozenset())


def test_snapshots_follow_changes_at_once_and_the_newest_stay_whatever_their_line_is_called(tmp_path: Any) -> None:
    settings, artifacts, replica = Settings(snapshots_kept=2), ArtifactFolder(tmp_path), new_replica(3)
    snapshotter = Snapshotter(settings, artifacts, replica, now=0)
    assert not snapshotter.due(1)
    snapshotter.changed()
    assert snapshotter.due(1)
    artifacts.put("default.releases/r1.safetensors", b"a release")
    for line in ("r7-ab", "base", "r7-ab", "base"):
        replica.line = line
        replica.apply(snapshotter.write(replica, replica.seq))
        assert not snapshotter.pending
    kept = artifacts.list()
    assert kept == [
        "default.releases/r1.safetensors",
        "default/base-000000000006-6.safetensors",
        "default/r7-ab-000000000005-5.safetensors",
    ]
