"""The learn topology on lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from pyflink.datastream import DataStream
from pyflink.table import Table

from online_model.prequential import score
from online_model.replica import Replica, SnapshotError
from schemas.log import LabelEntry, SnapshotEntry, VerdictEntry
from schemas.parsing import encode, parse_log_entry, record_parser
from schemas.records import Alarm, Feedback, LabelState, ModelVersion, Position, Prediction, Quality, Score, Served, State, Verdict
from schemas.settings import Settings
from store.artifacts import ArtifactFolder
from stream.clock import now_ms
from stream.environment import Environment, Job
from stream.learn import learn
from tests.flink.conftest import Out, Record, collect, collect_until, configured_replica, new_replica, nothing, record

pytestmark = pytest.mark.flink

Environments = Callable[[Job], Environment]
Tables = Callable[[Environment, Sequence[Record]], Table]


SERVED = Served(label="a", proba={"a": 0.75}, classes=2, model=ModelVersion(line="base", seq=0))


def prediction(event_id: str, offset: int, *, text: str = "good day", task: str = "default", label: str = "a") -> Record:
    body = Prediction(
        label=label,
        proba={label: 0.75},
        classes=2,
        model=ModelVersion(line="base", seq=0),
        event_id=event_id,
        task=task,
        text=text,
        meta={},
        event_ts=0,
        predicted_at=0,
        source=Position(partition=0, offset=offset),
    )
    return record(encode(body), offset, key=event_id, task=task, label=label)


def feedback(event_id: str, label: str, offset: int, *, task: str = "default", text: str | None = None) -> Record:
    return record(encode(Feedback(event_id=event_id, label=label, task=task, text=text)), offset, key=event_id)


def verdict(event_id: str, said: Verdict, offset: int, **more: Any) -> Record:
    return record(encode(Feedback(event_id=event_id, verdict=said, **more)), offset, key=event_id)


def run(stream: DataStream) -> tuple[list[LabelEntry], list[LabelState], Counter[str]]:
    rows = collect(stream)
    log = [entry for row in rows if row.topic == "model-log" and isinstance(entry := parse_log_entry(row.value), LabelEntry)]
    return log, states_in(rows), Counter(row.topic for row in rows)


def states_in(rows: list[Out]) -> list[LabelState]:
    return [record_parser(LabelState)(row.value) for row in rows if row.topic == "label-states"]


def test_each_label_ends_in_one_state_and_each_task_has_its_own_log(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    predictions = [prediction(f"e{n}", n) for n in range(50)] + [prediction("o", 50, task="other", label="x")]
    labels = [feedback(f"e{n}", "ab"[n % 2], n) for n in range(50)]
    labels += [feedback("e0", "a", 50), feedback("e1", "c", 51), feedback("nobody", "a", 52), feedback("o", "y", 53, task="other")]
    labels += [record(b'{"event_id": "e2", "label": ""}', 54)]
    stream = learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=new_replica)
    log, states, topics = run(stream)
    final: dict[int, State] = {}
    for state in states:
        final[state.feedback.at.offset] = max(
            final.get(state.feedback.at.offset, state.state), state.state, key=lambda s: s is not State.WAITING
        )
    assert Counter(final.values()) == {State.TRAINED: 51, State.DUPLICATE: 1, State.CORRECTED: 1, State.WAITING: 1, State.REJECTED: 1}
    assert topics["dead-letters"] == 1
    for task, learned in (("default", 51), ("other", 1)):
        seqs = [entry.seq for entry in log if entry.task == task]
        assert seqs == list(range(1, learned + 1))
    receipts = {(s.task, s.seq) for s in states if s.seq is not None}
    assert receipts == {(entry.task, entry.seq) for entry in log}
    scored = next(s for s in states if s.task == "other" and s.seq == 1)
    assert scored.score is not None
    assert (scored.served, scored.score.correct) == ("x", False)


def test_first_prediction_of_an_event_counts(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    predictions = [prediction("e", 0, text="the first"), prediction("e", 1, text="the second")]
    stream = learn(env.tables, table(env, [feedback("e", "a", 0)]), table(env, predictions), nothing(env), settings, load=new_replica)
    log, states, _ = run(stream)
    assert [entry.text for entry in log] == ["the first"]
    assert [s.state for s in states if s.state is not State.WAITING] == [State.TRAINED]


def test_self_contained_labels_are_learned_without_their_event(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    labels = [
        feedback("early", "a", 0),
        feedback("alone", "a", 1, text="only I"),
        feedback("alone", "a", 2, text="only I"),
        feedback("early", "b", 3, text="late text"),
        feedback("alone", "b", 4),
        feedback("alone", "a", 5, task="other", text="x"),
        feedback("long", "a", 6, text="x" * (settings.max_text_bytes + 1)),
    ]
    stream = learn(env.tables, table(env, labels), table(env, [prediction("elsewhere", 0)]), nothing(env), settings, load=new_replica)
    log, states, topics = run(stream)
    assert [(e.task, e.seq, e.event_id, e.text, e.label, e.corrects, e.served) for e in sorted(log, key=lambda e: (e.task, e.seq))] == [
        ("default", 1, "alone", "only I", "a", None, None),
        ("default", 2, "early", "late text", "a", None, None),
        ("default", 3, "early", "late text", "b", "a", None),
        ("default", 4, "alone", "only I", "b", "a", None),
        ("other", 1, "alone", "x", "a", None, None),
    ]
    by_offset: dict[int, list[State]] = {}
    for state in states:
        by_offset.setdefault(state.feedback.at.offset, []).append(state.state)
        assert (state.served, state.score) == (None, None)
    assert by_offset == {
        0: [State.WAITING, State.TRAINED],
        1: [State.TRAINED],
        2: [State.DUPLICATE],
        3: [State.CORRECTED],
        4: [State.CORRECTED],
        5: [State.TRAINED],
        6: [State.REJECTED],
    }
    (rejected,) = [s for s in states if s.state is State.REJECTED]
    assert rejected.reason is not None
    assert rejected.reason.startswith("text_too_long")
    assert topics["dead-letters"] == 1


def test_an_event_sent_twice_beside_a_self_contained_label_teaches_once(
    environment: Environments, table: Tables, settings: Settings
) -> None:
    """Which of them comes first is Flink's choice; the event has one text, and each label is learned once."""
    env = environment(Job.LEARN)
    predictions = [prediction(f"e{n % 20}", n) for n in range(40)]
    labels = [feedback(f"e{n}", "b", n, text="good day") for n in range(20)] + [feedback(f"e{n}", "c", 20 + n) for n in range(20)]
    log, states, _ = run(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=new_replica))
    assert sorted((e.event_id, e.label, e.text, e.corrects or "") for e in log) == sorted(
        row for n in range(20) for row in ((f"e{n}", "b", "good day", ""), (f"e{n}", "c", "good day", "b"))
    )
    assert Counter(s.state for s in states) == {State.TRAINED: 20, State.CORRECTED: 20}
    assert all((s.score is not None) == (s.served is not None) for s in states if s.state is State.TRAINED)
    assert all(s.score is None for s in states if s.state is State.CORRECTED), "an event is scored by its first label or not at all"


def test_verdicts_score_what_was_served_and_only_right_teaches(environment: Environments, table: Tables, settings: Settings) -> None:
    """`a` was served for each event. Who replays the log, over its snapshots, has the learner's scores and models."""
    settings = msgspec.structs.replace(settings, snapshot_labels=3, label_wait_s=10**6)
    env = environment(Job.LEARN)
    labels = [
        verdict("e0", "right", 0, comment="yes"),
        verdict("e1", "wrong", 1, weight=2.0, comment="no"),
        verdict("e1", "wrong", 2),
        feedback("e1", "b", 3),
        feedback("e2", "a", 4),
        verdict("e2", "wrong", 5),
        verdict("e3", "wrong", 6),
        verdict("e3", "right", 7),
        feedback("e4", "b", 8),
        verdict("e4", "wrong", 9),
        verdict("nobody", "wrong", 10),
        feedback("alone", "a", 11, text="only I"),
        verdict("alone", "right", 12),
        record(b'{"event_id": "e5", "label": "a", "verdict": "wrong"}', 13),
    ]
    predictions = [prediction(f"e{n}", n) for n in range(6)]
    rows = collect(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=configured_replica))
    final = {s.feedback.at.offset: s for s in states_in(rows) if s.state is not State.WAITING or s.event_id == "nobody"}
    words = "trained marked duplicate trained trained marked marked trained trained duplicate waiting trained rejected rejected"
    assert " ".join(final[n].state for n in range(14)) == words
    assert [final[n].label for n in range(14)] == ["a", None, None, "b", "a", None, None, "a", "b", None, None, "a", None, None]
    assert [n for n in range(14) if final[n].score is not None] == [0, 1, 4, 6, 8], "an event is scored once"
    assert (final[1].served, final[1].score) == ("a", Score(correct=False, log_loss=score(None, SERVED).log_loss))
    assert [(final[n].feedback.verdict, final[n].comment) for n in (0, 1, 3)] == [("right", "yes"), ("wrong", "no"), (None, None)]
    assert [(final[n].reason or "").partition(":")[0] for n in (12, 13)] == ["nothing_served", "invalid_field"]
    assert Counter(row.topic for row in rows)["dead-letters"] == 1
    entries = [parse_log_entry(row.value) for row in rows if row.topic == "model-log"]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    denied = {e.event_id: e for e in entries if isinstance(e, VerdictEntry)}
    assert {event_id: (e.seq, e.weight, e.served) for event_id, e in denied.items()} == {
        "e1": (final[1].seq, 2.0, SERVED),
        "e3": (final[6].seq, 1.0, SERVED),
    }
    taught = {e.seq: (e.label, e.marked) for e in entries if isinstance(e, LabelEntry)}
    assert taught == {s.seq: (s.label, n in (3, 7)) for n, s in final.items() if s.seq is not None and s.state is not State.MARKED}
    straight, stored = configured_replica(settings, "default"), ArtifactFolder(settings.artifacts)
    for entry in entries:
        if isinstance(entry, SnapshotEntry):
            assert Replica.from_snapshot(stored.get(entry.address, entry.sha256)).snapshot() == straight.snapshot()
        straight.apply(entry)
    assert straight.quality.labels == 5
    assert straight.quality.overall().per_class["a"].precision == pytest.approx(2 / 6)
    published = [record_parser(Quality)(row.value) for row in rows if row.topic == "quality"]
    assert all(q.overall.labels <= 5 for q in published)


def test_labels_of_an_idle_topic_become_orphans_by_the_clock_alone(
    environment: Environments, table: Tables, idle_table: Tables, settings: Settings
) -> None:
    settings = msgspec.structs.replace(settings, label_wait_s=1)
    env = environment(Job.LEARN)
    labels = [feedback("nobody", "a", 0), feedback("nobody", "b", 1), feedback("alone", "a", 2, text="only I")]
    stream = learn(env.tables, idle_table(env, labels), table(env, [prediction("elsewhere", 0)]), nothing(env), settings, load=new_replica)
    began = now_ms()
    states = states_in(collect_until(stream, lambda rows: sum(s.state is State.ORPHAN for s in states_in(rows)) == 2))
    said = {n: [(s.state, s.previous) for s in states if s.feedback.at.offset == n] for n in range(3)}
    orphaned = [(State.WAITING, None), (State.ORPHAN, State.WAITING)]
    assert said == {0: orphaned, 1: orphaned, 2: [(State.TRAINED, None)]}
    assert all(s.time >= began + 1000 for s in states if s.state is State.ORPHAN), "not before they have waited"


def test_log_replays_to_the_learners_model(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    texts = ["good day to you", "pay me now", "hello there", "money money"]
    predictions = [prediction(f"e{n}", n, text=texts[n % 4]) for n in range(40)]
    labels = [feedback(f"e{n}", "gm"[n % 2], n) for n in range(40)]
    log, _, _ = run(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=new_replica))
    assert all(b.seq == a.seq + 1 for a, b in pairwise(log))
    one, two = new_replica(settings, "default"), new_replica(settings, "default")
    for entry in log:
        one.apply(entry)
        two.apply(entry)
    assert one.fingerprint() == two.fingerprint()
    assert one.predict("good day", top=2).label == "g"


@pytest.mark.parametrize("detector", ["adwin", "none"])
def test_a_drift_raises_one_alarm_which_is_the_logs(environment: Environments, table: Tables, settings: Settings, detector: str) -> None:
    """The served label is right for 300 events and wrong for 60; who replays the log raises the same alarm at the same entry."""
    settings = msgspec.structs.replace(settings, drift_detector=detector, snapshot_labels=100)
    env = environment(Job.LEARN)
    predictions = [prediction(f"e{n}", n, label="a") for n in range(360)]
    labels = [feedback(f"e{n}", "a" if n < 300 else "b", n) for n in range(360)]
    rows = collect(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=configured_replica))
    entries = [parse_log_entry(row.value) for row in rows if row.topic == "model-log"]
    assert sum(isinstance(entry, LabelEntry) for entry in entries) == 360
    replica, expected = configured_replica(settings, "default"), []
    for entry in entries:
        replica.apply(entry)
        if (drift := replica.drift.raised_at(entry.seq)) is not None:
            model = ModelVersion(line="base", seq=entry.seq)
            expected.append(Alarm(task="default", time=entry.time, model=model, drift=drift))
        if isinstance(entry, SnapshotEntry):
            replica = Replica.from_snapshot(replica.snapshot())
    alarms = [(row.key, row.task, record_parser(Alarm)(row.value)) for row in rows if row.topic == "alarms"]
    assert alarms == [("default", "default", alarm) for alarm in expected]
    assert len(alarms) == (1 if detector == "adwin" else 0)


RIVER = "river:naive_bayes.MultinomialNB?alpha=0.5"


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_classifier_of_river_learns_in_the_job(
    environment: Environments, table: Tables, settings: Settings, *, allow_pickle: bool
) -> None:
    """It is stored only where pickles are allowed, and then the snapshot with the log after it is the model."""
    settings = msgspec.structs.replace(settings, model=RIVER, allow_pickle=allow_pickle, snapshot_labels=15)
    env = environment(Job.LEARN)
    texts = ["good day to you", "pay me now", "hello there", "money money"]
    predictions = [prediction(f"e{n}", n, text=texts[n % 4]) for n in range(40)]
    labels = [feedback(f"e{n}", "gm"[n % 2], n) for n in range(40)]
    rows = collect(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=configured_replica))
    log = [parse_log_entry(row.value) for row in rows if row.topic == "model-log"]
    straight = configured_replica(settings, "default")
    for entry in log:
        straight.apply(entry)
    assert straight.model.specification == RIVER
    assert straight.predict("good money", top=2).label == "m"
    snapshots = [entry for entry in log if isinstance(entry, SnapshotEntry)]
    stored = ArtifactFolder(settings.artifacts)
    assert (len(snapshots), len(stored.list())) == ((2, 2) if allow_pickle else (0, 0))
    for announced in snapshots:
        data = stored.get(announced.address, announced.sha256)
        with pytest.raises(SnapshotError, match="MILLRACE_ALLOW_PICKLE"):
            Replica.from_snapshot(data)
        resumed = Replica.from_snapshot(data, allow_pickle=True)
        for entry in log:
            resumed.apply(entry)
        assert resumed.fingerprint() == straight.fingerprint()
        assert resumed.quality == straight.quality
