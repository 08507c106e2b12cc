"""Lines and changes: whatever the log says, every replica that was given its models is the same, byte for byte."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model import changes
from online_model.arms import arm_of, place_of
from online_model.lines import MOST_WATCHED
from online_model.models import TextModel, build
from online_model.replica import Replica
from online_model.trials import Decision
from schemas.log import (
    AnyChange,
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
    VerdictEntry,
)
from schemas.records import FeedbackRef, ModelVersion, Position, Served

pytestmark = pytest.mark.unit

MODEL = "softmax?memory_mib=1"
LINES = ["r0-aaaaaaaa", "r1-bbbbbbbb", "r2-cccccccc", "r3-dddddddd", "r4-eeeeeeee"]
UNKNOWN = Served(label=None, proba={}, classes=0, model=ModelVersion(line="base", seq=0))

Step = tuple[str, Any, Any]
labels = st.tuples(st.just("label"), st.sampled_from(["good day", "bad day", "no day", "ein Tag"]), st.integers(0, 3))
releases = st.tuples(st.sampled_from(["serve", "shadow", "split"]), st.sampled_from([*LINES, "base"]), st.floats(0.05, 0.3))
endings = st.tuples(st.sampled_from(["rollback", "drop"]), st.sampled_from([*LINES[:2], "base"]), st.just(0.0))
wrongs = st.tuples(st.just("wrong"), st.sampled_from(["good day", "bad day"]), st.just(0))
histories = st.lists(labels | wrongs | releases | endings | st.just(("rollback", None, 0.0)), min_size=10, max_size=40)


def new() -> Replica:
    return Replica("t", model=MODEL, quality_window=5)


def label(seq: int, text: str = "good day", name: str = "a", *, served: Served | None = None, corrects: str | None = None) -> LabelEntry:
    at = FeedbackRef(at=Position(partition=0, offset=seq))
    common: dict[str, Any] = {"task": "t", "time": 1000 + seq, "event_id": str(seq), "meta": {}, "weight": 1.0, "feedback": at}
    return LabelEntry(**common, seq=seq, text=text, label=name, served=served, corrects=corrects)


def wrong(seq: int, served: Served) -> VerdictEntry:
    at = FeedbackRef(at=Position(partition=0, offset=seq))
    return VerdictEntry(seq=seq, task="t", time=1000 + seq, event_id=str(seq), weight=1.0, served=served, feedback=at)


def origin_of(line: str) -> Origin:
    """What a line began with: nothing, or what an artifact held at the number in its name."""
    if line == "base":
        return Origin()
    return Origin(artifact=Artifact(address=line, sha256="00", size_bytes=1), cut_seq=int(line[1]))


def built(line: str, origin: Origin, log: list[AnyLogEntry]) -> TextModel:
    """The line's model by its definition: what it began with, and the labels of the log after that."""
    model = build(MODEL)
    if origin.artifact is not None:
        for number in range(5):
            model.learn_one(f"what {line} was trained with {number}", str(number % 2))
    for entry in log:
        if isinstance(entry, LabelEntry) and entry.seq > origin.cut_seq:
            model.learn_one(entry.text, entry.label, entry.weight)
    return model


def command(do: Any, line: str | None = None, **fields: Any) -> Command:
    return Command(command_id="c1", task="t", do=do, line=line, by="me", why="so", **fields)


def asked(replica: Replica, step: Step) -> Command:
    do, line, share = step
    origin = None if line is None or replica.holds(line) else origin_of(line)
    return command(do, line, origin=origin, share=round(share, 3) if do == "split" else None)


class Learner:
    """Writes a log as the learner does, and holds the replica that has seen all of it."""

    def __init__(self) -> None:
        self.replica = new()
        self.log: list[AnyLogEntry] = []
        self.brought: dict[int, TextModel] = {}

    def step(self, step: Step) -> None:
        if step[0] == "label":
            seq = self.replica.seq + 1
            entry = label(seq, step[1], str(step[2]), served=self.replica.predict(step[1], top=3, event_id=str(seq)))
            self.replica.apply(msgspec.structs.replace(entry, corrects="0") if seq % 7 == 0 else entry)
            self.log.append(msgspec.structs.replace(entry, corrects="0") if seq % 7 == 0 else entry)
        elif step[0] == "wrong":
            seq = self.replica.seq + 1
            self.log.append(wrong(seq, self.replica.predict(step[1], top=3, event_id=str(seq))))
            self.replica.apply(self.log[-1])
        else:
            self.do(asked(self.replica, step))

    def do(self, asked: Command) -> AnyChange:
        entry = changes.entry_for(self.replica, asked, now=5)
        self.replica.apply(entry, brought=self.model_for(self.replica, entry))
        self.log.append(entry)
        return entry

    def model_for(self, replica: Replica, entry: AnyLogEntry) -> TextModel | None:
        """The model that whoever feeds a replica brings with an entry."""
        if not isinstance(entry, ReleaseEntry | RollbackEntry) or replica.holds(entry.line):
            return None
        return built(entry.line, entry.origin, self.log[: entry.seq - 1])


def written(history: list[Step]) -> Learner:
    learner = Learner()
    for step in history:
        learner.step(step)
    return learner


@settings(deadline=None)
@given(histories, st.data())
def test_a_replica_restored_at_any_point_is_the_one_that_saw_all(history: list[Step], data: st.DataObject) -> None:
    learner = written(history)
    resumed, cut = new(), data.draw(st.integers(0, len(learner.log)))
    for entry in learner.log:
        if resumed.seq == cut:
            resumed = Replica.from_snapshot(resumed.snapshot())
        assert resumed.apply(entry, brought=learner.model_for(resumed, entry))
    assert resumed.snapshot() == learner.replica.snapshot()
    assert resumed.trials() == learner.replica.trials()
    assert resumed.missing == frozenset()
    assert len(resumed.watched) <= MOST_WATCHED
    for line in (resumed.line, *resumed.watched):
        # What was held all along is what a line's definition makes.
        assert resumed.fingerprint(line) == built(line, resumed.origin_of(line), learner.log).fingerprint()


@settings(deadline=None)
@given(histories, st.data())
def test_a_replica_that_lacks_lines_goes_on_and_is_whole_as_soon_as_none_is_missing(history: list[Step], data: st.DataObject) -> None:
    learner = written(history)
    poor, whole = new(), new()
    for entry in learner.log:
        gives = data.draw(st.booleans())
        poor.apply(entry, brought=learner.model_for(poor, entry) if gives else None)
        whole.apply(entry, brought=learner.model_for(whole, entry))
        assert (poor.champion, poor.roles) == (whole.line, whole.roles)
        assert poor.missing == {name for name in (whole.line, *whole.roles) if not (name in poor.watched or name == poor.line)}
        assert poor.fingerprint() == built(poor.line, poor.origin_of(poor.line), learner.log[: entry.seq]).fingerprint()
        if poor.champion == poor.line:
            assert poor.trials() == [trial for trial in whole.trials() if trial.line not in poor.missing]
        if poor.missing:
            with pytest.raises(ValueError, match="missing"):
                poor.snapshot()
        else:
            assert poor.snapshot() == whole.snapshot()


@settings(deadline=None)
@given(histories)
def test_the_learner_can_repair_a_log_whose_models_are_gone(history: list[Step]) -> None:
    log = written(history).log
    replica = new()
    for entry in log:
        replica.apply(entry)
    while (entry := changes.repair(replica, now=5)) is not None:  # type: ignore[assignment]  # a change is an entry
        before = len(replica.missing)
        replica.apply(entry)
        assert len(replica.missing) < before
    assert replica.line == replica.champion
    Replica.from_snapshot(replica.snapshot())


def with_lines(*steps: Command) -> Learner:
    learner = Learner()
    for seq in range(1, 9):
        learner.step(("label", "good day", seq % 2))
    for step in steps:
        assert not isinstance(learner.do(step), RefusalEntry)
    return learner


def release(do: str, number: int, **fields: Any) -> Command:
    return command(do, LINES[number], origin=origin_of(LINES[number]), **fields)


def roles(replica: Replica) -> dict[str, str]:
    return dict(replica.roles)


def test_a_release_in_mode_serve_makes_the_champion_the_former_one_and_restarts_trials() -> None:
    learner = with_lines(release("shadow", 1), release("serve", 2))
    learner.step(("label", "good day", 1))
    assert (learner.replica.line, roles(learner.replica)) == (LINES[2], {LINES[1]: "shadow", "base": "former"})
    assert [(t.line, t.champion, t.since_seq, t.labels) for t in learner.replica.trials()] == [
        ("base", LINES[2], 10, 1),
        (LINES[1], LINES[2], 10, 1),
    ]
    learner.do(release("serve", 3))
    assert (learner.replica.line, roles(learner.replica)) == (LINES[3], {LINES[1]: "shadow", LINES[2]: "former"})


def test_a_promotion_and_a_rollback() -> None:
    learner = with_lines(release("shadow", 1), release("split", 2, share=0.25))
    entry = learner.do(command("serve", LINES[1]))
    assert isinstance(entry, PromoteEntry)
    assert (learner.replica.line, roles(learner.replica)) == (LINES[1], {LINES[2]: "split", "base": "former"})
    assert learner.replica.trials()[1].share == 0.25
    back = learner.do(command("rollback"))
    assert isinstance(back, RollbackEntry)
    assert (back.line, back.replaces, back.origin) == ("base", LINES[1], Origin())
    assert (learner.replica.line, roles(learner.replica)) == ("base", {LINES[2]: "split"})
    assert isinstance(learner.do(command("rollback")), RefusalEntry)


def test_a_rollback_to_an_earlier_line_keeps_the_former_one() -> None:
    learner = with_lines(release("serve", 1), release("serve", 2))
    assert roles(learner.replica) == {LINES[1]: "former"}
    learner.do(command("rollback", "base", origin=Origin()))
    assert (learner.replica.line, roles(learner.replica)) == ("base", {LINES[1]: "former"})
    assert learner.replica.fingerprint() == built("base", Origin(), learner.log).fingerprint()


def test_a_stand_in_is_not_taken_for_a_line_of_its_name_that_began_with_something_else() -> None:
    learner, poor = with_lines(release("serve", 1)), new()
    for entry in learner.log:
        poor.apply(entry)
    assert (poor.line, poor.champion) == ("base", LINES[1])
    same = changes.entry_for(learner.replica, command("rollback", "base"), now=5)
    assert isinstance(same, RollbackEntry)
    other = msgspec.structs.replace(same, origin=origin_of(LINES[3]))
    poor.lines.watched.clear()  # as after a drop: it only stands in
    poor.apply(other)
    assert poor.missing == {"base"}
    poor.apply(msgspec.structs.replace(other, seq=other.seq + 1), brought=built(LINES[3], origin_of(LINES[3]), learner.log))
    assert poor.missing == frozenset()


def test_a_line_that_is_watched_takes_another_role() -> None:
    learner = with_lines(release("shadow", 1))
    learner.step(("label", "good day", 1))
    entry = learner.do(command("split", LINES[1], share=0.3))
    assert isinstance(entry, ReleaseEntry)
    (trial,) = learner.replica.trials()
    assert (trial.role, trial.share, trial.labels, trial.since_seq) == ("split", 0.3, 0, entry.seq)


def test_a_drop_and_a_refusal() -> None:
    learner = with_lines(release("shadow", 1))
    before = learner.replica.fingerprint()
    assert isinstance(learner.do(command("drop", LINES[2])), RefusalEntry)
    assert roles(learner.replica) == {LINES[1]: "shadow"}
    assert isinstance(learner.do(command("drop", LINES[1])), DropEntry)
    assert (roles(learner.replica), learner.replica.fingerprint()) == ({}, before)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (command("serve"), "it names no line"),
        (command("rollback"), "no former line"),
        (command("serve", "base"), "base serves already"),
        (command("drop", "base"), "can only be replaced"),
        (command("drop", LINES[4]), "is not watched"),
        (command("serve", LINES[4]), "its origin is not named"),
        (command("rollback", LINES[4]), "its origin is not named"),
        (command("serve", LINES[4], origin=Origin(cut_seq=3)), "without an artifact"),
        (command("serve", LINES[4], origin=Origin(cut_seq=-1)), "without an artifact"),
        (command("shadow", LINES[4], origin=Origin(cut_seq=99)), "began after entry 99, but the log ends at 11"),
        (release("shadow", 4), "4 lines would be watched, 3 is the most"),
        (release("serve", 4), "4 lines would be watched, 3 is the most"),
        (release("shadow", 1, against="r9"), "meant to replace r9, but base serves"),
        (command("serve", LINES[1], origin=Origin()), "began with something else"),
        (command("split", LINES[1]), "no share"),
        (command("split", LINES[1], share=0.9), "would serve 1.15 of the events"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(asked: Command, reason: str) -> None:
    learner = with_lines(release("shadow", 1), release("shadow", 2), release("split", 3, share=0.25))
    before = learner.replica.snapshot()
    objection = changes.objection(learner.replica, asked)
    assert objection is not None
    assert reason in objection
    entry = changes.entry_for(learner.replica, asked, now=5)
    assert isinstance(entry, RefusalEntry)
    assert (entry.why, entry.do, entry.command_id, entry.seq) == (objection, asked.do, "c1", 12)
    learner.replica.apply(entry)
    assert Replica.from_snapshot(before).trials() == learner.replica.trials()


def test_no_line_is_brought_in_beside_a_model_of_river() -> None:
    replica = Replica("t", model="river:naive_bayes.MultinomialNB")
    objection = changes.objection(replica, command("serve", LINES[0], origin=origin_of(LINES[0])))
    assert objection is not None
    assert "only lines of the own engine" in objection


def test_a_decision_becomes_an_entry() -> None:
    learner = with_lines(release("shadow", 1), release("serve", 2))
    made = [
        changes.entry_of(learner.replica, Decision(line=line, action=action, why="so", metrics={"labels": 50.0}), now=5)  # type: ignore[arg-type]  # of three
        for line, action in ((LINES[1], "promote"), ("base", "rollback"), (LINES[1], "drop"))
    ]
    assert [type(entry) for entry in made] == [PromoteEntry, RollbackEntry, DropEntry]
    assert {(entry.by, entry.seq, entry.command_id, entry.metrics["labels"]) for entry in made} == {("trial", 11, None, 50.0)}


def test_events_are_spread_by_their_id() -> None:
    learner = with_lines(release("split", 1, share=0.2), release("split", 2, share=0.3), release("shadow", 3))
    replica, ids = learner.replica, [f"event {n}" for n in range(4000)]
    by = {name: [i for i in ids if replica.predict("x", top=1, event_id=i).model.line == name] for name in ("base", *LINES[1:4])}
    assert [round(len(by[name]) / len(ids), 1) for name in ("base", LINES[1], LINES[2])] == [0.5, 0.2, 0.3]
    assert by[LINES[3]] == []
    assert replica.predict("x", top=1).model.line == "base"
    assert 0 <= place_of("") < 1
    assert arm_of("any", []) is None
    assert [served.model.line for served in replica.shadow_predictions("x", top=1)] == [LINES[3]]
    assert replica.predict_as(LINES[3], "x", 1).model == ModelVersion(line=LINES[3], seq=replica.seq)
    with pytest.raises(KeyError):
        replica.predict_as(LINES[4], "x", 1)


def test_outcomes_are_counted_by_arm_and_only_of_predictions_made_in_the_trial() -> None:
    learner = with_lines(release("split", 1, share=0.2))
    seq = learner.replica.seq

    def served(line: str, at: int, name: str) -> Served:
        return Served(label=name, proba={name: 1.0}, classes=2, model=ModelVersion(line=line, seq=at))

    for number, (line, at, name) in enumerate(
        [(LINES[1], seq, "a"), (LINES[1], seq, "b"), ("base", seq, "a"), (LINES[1], seq - 1, "a"), ("base", 0, "a"), ("r7", seq, "a")]
    ):
        learner.replica.apply(label(seq + 1 + number, served=served(line, at, name)))
    learner.replica.apply(label(seq + 7, served=served("base", seq, "a"), corrects="b"))
    (trial,) = learner.replica.trials()
    assert (trial.served, trial.served_correct, trial.champion_served, trial.champion_served_correct) == (2, 1, 1, 1)
    assert trial.labels == 6


def test_a_wrong_counts_for_the_line_that_served_and_compares_nothing() -> None:
    learner = with_lines(release("split", 1, share=0.2))
    seq = learner.replica.seq

    def served(line: str, at: int) -> Served:
        return Served(label="a", proba={"a": 1.0}, classes=2, model=ModelVersion(line=line, seq=at))

    for number, (line, at) in enumerate([(LINES[1], seq), ("base", seq), ("base", seq), (LINES[1], seq - 1), ("r7", seq)], 1):
        learner.replica.apply(wrong(seq + number, served(line, at)))
    (trial,) = learner.replica.trials()
    assert (trial.served, trial.served_correct, trial.champion_served, trial.champion_served_correct) == (1, 0, 2, 0)
    assert (trial.labels, trial.only_line, trial.only_champion) == (0, 0, 0)
    learner.replica.apply(msgspec.structs.replace(label(seq + 6, served=served(LINES[1], seq)), marked=True))
    (trial,) = learner.replica.trials()
    assert (trial.served, trial.labels) == (1, 1), "a label that comes after it compares, and is no second outcome"


def test_both_are_compared_before_they_learn_the_label() -> None:
    learner = with_lines(release("shadow", 1))
    champion, line = (learner.replica.predict_as(name, "never seen", 9).label for name in ("base", LINES[1]))
    learner.replica.apply(label(10, "never seen", "new"))
    (trial,) = learner.replica.trials()
    assert "new" not in (champion, line)
    assert (trial.labels, trial.champion_correct, trial.line_correct) == (1, 0, 0)
    assert trial.champion_log_loss == trial.line_log_loss == pytest.approx(16.118, abs=1e-3)
