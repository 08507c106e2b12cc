"""The classify topology on lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import msgspec
import pytest
from pyflink.table import Table

from online_model.replica import Replica
from schemas.log import LabelEntry
from schemas.parsing import encode, record_parser
from schemas.records import DeadLetter, Event, FeedbackRef, ModelVersion, Position, Prediction, Reason, Served
from schemas.settings import Settings
from stream.classify import classify
from stream.environment import Environment, Job
from tests.flink.conftest import Record, collect, configured_replica, new_replica, record

pytestmark = pytest.mark.flink

EVENTS = 150
"""Few, since PyFlink collects every byte of a record in a call of its own."""

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

Environments = Callable[[Job], Environment]
Tables = Callable[[Environment, Sequence[Record]], Table]


def entry(seq: int, text: str, label: str, task: str = "default") -> LabelEntry:
    version = ModelVersion(line="base", seq=seq - 1)
    return LabelEntry(
        seq=seq,
        task=task,
        time=seq,
        event_id=f"past-{seq}",
        text=text,
        meta={},
        label=label,
        weight=1.0,
        served=Served(label=None, proba={}, classes=0, model=version),
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


def trained_replica(settings: Settings, task: str, known: Replica | None = None) -> Replica:
    replica = new_replica(settings, task)
    if task == "default":
        for seq in range(1, 21):
            replica.apply(entry(seq, *(("good day", "greeting") if seq % 2 else ("pay me now", "money"))))
    return replica


def test_events_become_predictions_or_dead_letters(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.CLASSIFY)
    events = [
        record(encode(Event(event_id="1", text="good day", meta={"k": 1})), 0, traceparent=TRACE),
        record(b'{"event_id": "b", "text": "\xff"}', 1, traceparent=TRACE),
        record(None, 2, traceparent=""),
        record(encode(Event(event_id="2", text="what?", task="other", ts=77)), 3, traceparent=TRACE.replace("7", "G")),
        record(b'{"event_id": "3", "text": "a", "task": "no-such"}', 4),
    ]
    # The log is known already: the replica ignores what it has applied.
    log = [record(encode(entry(1, "good day", "greeting")), 0)]
    stream = classify(env.tables, table(env, events), table(env, log), settings, load=trained_replica)
    rows = collect(stream)
    predictions = {row.key: record_parser(Prediction)(row.value) for row in rows if row.topic == "predictions"}
    letters = {row.key: record_parser(DeadLetter)(row.value) for row in rows if row.topic == "dead-letters"}
    assert set(predictions) == {"1", "2"}
    first, second = predictions["1"], predictions["2"]
    assert (first.label, first.model.seq, first.meta, first.event_ts, first.source.offset) == ("greeting", 20, {"k": 1}, 1000, 0)
    assert sum(first.proba.values()) == pytest.approx(1, abs=1e-5)
    assert (second.label, second.proba, second.event_ts, second.model.seq) == (None, {}, 77, 0)
    assert {key: letter.reason for key, letter in letters.items()} == {
        "0:1": Reason.NOT_UTF8,
        "0:2": Reason.NULL_VALUE,
        "0:4": Reason.UNKNOWN_TASK,
    }
    headers = {row.key: (row.task, row.label) for row in rows if row.topic == "predictions"}
    assert headers == {"1": ("default", "greeting"), "2": ("other", "")}
    assert (first.traceparent, second.traceparent) == (TRACE, None), "an invalid one is ignored"
    assert {row.key: row.traceparent for row in rows} == {"1": TRACE, "0:1": TRACE, "0:2": None, "2": None, "0:4": None}


def test_broadcast_log_moves_the_model(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.CLASSIFY)
    log = [record(encode(entry(seq, "good day", "greeting")), seq) for seq in range(1, 50)]
    events = [record(encode(Event(event_id=str(n), text="good day")), n) for n in range(EVENTS)]
    stream = classify(env.tables, table(env, events), table(env, log), settings, load=new_replica)
    seqs = [json.loads(row.value)["model"]["seq"] for row in collect(stream)]
    assert len(seqs) == EVENTS
    assert seqs == sorted(seqs)
    assert set(seqs) <= set(range(50))


def test_a_classifier_of_river_predicts_in_the_job(environment: Environments, table: Tables, settings: Settings) -> None:
    settings = msgspec.structs.replace(settings, model="river:naive_bayes.MultinomialNB?alpha=0.5")
    env = environment(Job.CLASSIFY)

    def taught(settings: Settings, task: str, known: Replica | None = None) -> Replica:
        replica = configured_replica(settings, task)
        for seq, (text, label) in enumerate([("good day", "greeting"), ("pay me now", "money"), ("", "money")] * 10, start=1):
            replica.apply(entry(seq, text, label, task))
        return replica

    events = [record(encode(Event(event_id=str(n), text="good day")), n) for n in range(EVENTS)]
    log = [record(encode(entry(seq, "day of pay", "money")), seq) for seq in range(31, 60)]
    stream = classify(env.tables, table(env, events), table(env, log), settings, load=taught)
    served = {p.model.seq: p for p in (record_parser(Prediction)(row.value) for row in collect(stream))}
    straight = taught(settings, "default")
    for seq in range(30, 60):
        if seq in served:
            assert served[seq].proba == straight.predict("good day", top=settings.proba_top).proba
        straight.apply(entry(seq + 1, "day of pay", "money"))
    assert served
    assert set(served) <= set(range(30, 60))
