"""Bad input through the operators of classify and learn, on lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from pyflink.table import Table

from schemas.log import LabelEntry
from schemas.parsing import encode, parse_log_entry, record_parser
from schemas.records import LATEST_MS, DeadLetter, Event, LabelState, Prediction, Reason, State
from schemas.settings import Settings
from stream.classify import classify
from stream.clock import now_ms
from stream.environment import Environment, Job
from stream.learn import learn
from tests.bad_input import FEEDBACK, Case
from tests.flink.conftest import Out, Record, collect, new_replica, nothing, record
from tests.flink.test_classify import entry
from tests.flink.test_learn import feedback, prediction

pytestmark = pytest.mark.flink

Environments = Callable[[Job], Environment]
Tables = Callable[[Environment, Sequence[Record]], Table]

STRANGE_IDS = ("a", "a\0b", "a\0c", "\0", "😀", "é\u2028", "a\nb", " ", "\uffff", "\u202e", "x" * 256, "😀" * 256, "x\ufeff")
STRANGE_TIMES = (-(2**63), -1, 0, 1, LATEST_MS + 1, 2**63 - 1)
SMALL = 1500
"""PyFlink collects every byte in a call of its own."""


def test_strange_ids_and_times_reach_their_predictions(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.CLASSIFY)
    events = [record(encode(Event(event_id=event_id, text="\0 😀")), n) for n, event_id in enumerate(STRANGE_IDS)]
    events += [record(encode(Event(event_id="e", text="t")), 100 + n, time=time) for n, time in enumerate(STRANGE_TIMES)]
    # A log of another task: nothing is known yet.
    log = [record(encode(entry(1, "t", "a", task="nobody")), 0)]
    rows = collect(classify(env.tables, table(env, events), table(env, log), settings, load=new_replica))
    parsed = [record_parser(Prediction)(row.value) for row in rows]
    assert [row.key for row in rows[: len(STRANGE_IDS)]] == [p.event_id for p in parsed[: len(STRANGE_IDS)]] == list(STRANGE_IDS)
    times = [p.event_ts for p in parsed[len(STRANGE_IDS) :]]
    assert times[:4] == [0, 0, 0, 1]
    assert all(abs(time - now_ms()) < 120_000 for time in times[4:])


def test_strange_ids_and_times_meet_their_own_prediction(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    predictions = [prediction(event_id, n, text=f"text {n}") for n, event_id in enumerate(STRANGE_IDS)]
    predictions += [prediction(f"t{n}", 100 + n) for n in range(len(STRANGE_TIMES))]
    labels = [feedback(event_id, f"l{n}\0😀", n) for n, event_id in enumerate(STRANGE_IDS)]
    labels += [(*feedback(f"t{n}", "a", 100 + n)[:3], time, None, None, None, None) for n, time in enumerate(STRANGE_TIMES)]
    rows = collect(learn(env.tables, table(env, labels), table(env, predictions), nothing(env), settings, load=new_replica))
    log = [e for row in rows if row.topic == "model-log" and isinstance(e := parse_log_entry(row.value), LabelEntry)]
    texts = {e.event_id: e.text for e in log if not e.event_id.startswith("t")}
    assert texts == {event_id: f"text {n}" for n, event_id in enumerate(STRANGE_IDS)}
    final = {s.feedback.at.offset: s.state for s in states(rows) if s.state is not State.WAITING}
    # The predictions are of 1970: what came in our day is late, whatever its sender's clock says.
    assert [final[100 + n] for n in range(len(STRANGE_TIMES))] == [State.TRAINED] * 4 + [State.EXPIRED] * 2


def states(rows: Sequence[Out]) -> list[LabelState]:
    return [record_parser(LabelState)(row.value) for row in rows if row.topic == "label-states"]


def test_each_rejected_label_has_a_dead_letter_and_a_state(environment: Environments, table: Tables, settings: Settings) -> None:
    env = environment(Job.LEARN)
    cases = [case for case in FEEDBACK if case.reason and len(case.value or b"") < SMALL]
    cases.append(Case("deep", b'{"event_id": "a", "label": "l", "x": ' + b"[" * SMALL, Reason.NOT_JSON))
    labels = [record(case.value, n) for n, case in enumerate(cases)]
    rows = collect(learn(env.tables, table(env, labels), table(env, [prediction("x", 0)]), nothing(env), settings, load=new_replica))
    letters = {letter.offset: letter for row in rows if row.topic == "dead-letters" for letter in [record_parser(DeadLetter)(row.value)]}
    assert [letters[n].reason for n in range(len(cases))] == [case.reason for case in cases]
    assert [state.state for state in states(rows)] == [State.REJECTED] * len(cases)
    assert {state.feedback.at.offset for state in states(rows)} == set(letters)
    assert Counter(row.topic for row in rows)["dead-letters"] == len(cases)
