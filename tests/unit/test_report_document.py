import re
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.records import State
from schemas.topics import Topic
from stack.label_reference import Found, LabelRecord, Rules
from stack.observation import Observed
from stack.report import Report, build, write_report
from stack.report_metrics import Outcome
from stack.report_topics import Committed, Run
from stack.tallies import DeadLetters, Events, Labels, ModelLog, Predictions

pytestmark = pytest.mark.unit

DOCUMENT = Path(__file__).parents[2] / "docs" / "report.md"
PROMISED = [
    "dataset",
    "events_sent",
    "predictions",
    "duplicate_predictions",
    "missing_predictions",
    "dead_letters",
    "labels_sent",
    "labels",
    "served",
    "events_per_second",
    "latency_ms",
    "restarts",
    "redis_matches_kafka",
    "model",
    "peak_rss_mib",
    "served.accuracy",
    "served.accuracy_last_half",
    "served.macro_f1_last_half",
    "latency_ms.event_to_prediction.p50",
    "latency_ms.event_to_redis.p99",
    "latency_ms.label_to_model.p50",
    "model.line",
    "model.seq",
]


TRAINED = {(0, 0): State.TRAINED, (0, 1): State.TRAINED}


def example(**changes: Any) -> Report:
    """A run of three events, of which the last was refused, and two labels."""
    run = Run(
        kafka="",
        redis="",
        topic_prefix="",
        recent=10,
        dataset="generated",
        task="default",
        run_id="r",
        rules=Rules(label_wait_ms=10_000, event_known_ms=100_000),
        ends={topic: {} for topic in Topic},
        started=1.0,
        finished=4.0,
        events_sent=3,
        events_records_sent=changes.get("records_sent", 3),
        labels_sent=changes.get("labels_sent", 2),
        lines_skipped=0,
        unfinished=[],
    )
    dead = DeadLetters("")
    dead.places[Topic.EVENTS].add((0, 2))
    events = Events("r", dead.places[Topic.EVENTS])
    events.sent_ms = array("q", [1000, 1100, 1200])
    events.places, events.numbers, events.refused = array("q", [0, 1, 2]), array("q", [0, 1, 2]), array("b", [0, 0, 1])
    predictions = Predictions("r", task="default", newest=5, recent=5)
    predictions.sources = predictions.numbers = array("q", changes.get("predicted", [0, 1]))
    predictions.first_at = array("q", [1200 if number in predictions.numbers else 0 for number in (0, 1)])
    predictions.first_print = array("q", [0, 0])
    labels = Labels("r", set())
    labels.records = {(0, n): LabelRecord((0, n), n, "a", time) for n, time in enumerate(changes.get("label_times", (1500, 1600)))}
    labels.found = {place: Found(state, 1700, place[1] + 1) for place, state in changes.get("states", TRAINED).items()}
    log = ModelLog("r", "default")
    learned = changes.get("learned", [(1, 0), (2, 1)])
    log.outcomes = [Outcome(seq=seq, label="a", served="a" if n else None, place=(0, n), event=n) for seq, n in learned]
    log.seq = 2
    observed = Observed(
        arrived_n=np.array([0, 1, -1]),
        arrived_at=np.array([1.2, 1.4, 2.0]),
        arrived_seq=np.array([0, 0, 1]),
        visible_n=np.array([0, 1]),
        visible_at=np.array([1.5, 2.0]),
    )
    return build(run, Committed(dead, events, predictions, labels, log), observed, changes.get("differences", []))


def keys(value: Any, prefix: str = "") -> set[str]:
    found = set()
    for name, inner in value.items() if isinstance(value, dict) else ():
        found |= {prefix + name} | keys(inner, f"{prefix}{name}.")
    return found


def test_the_document_names_exactly_the_keys_of_the_report() -> None:
    documented = re.findall(r"^\| `([a-z_0-9.]+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == keys(msgspec.to_builtins(example()))
    assert set(PROMISED) <= set(documented)


def test_the_numbers_of_a_small_run() -> None:
    report = example()
    assert report.complete
    assert (report.predictions, report.missing_predictions, report.dead_letters) == (2, 0, 1)
    assert report.latency_ms.event_to_prediction.p50 == 250.0
    assert report.latency_ms.event_to_redis.p99 == pytest.approx(896.0)
    assert report.latency_ms.label_to_model.p50 == 500.0
    assert report.labels_without_later_prediction == 1
    assert report.events_per_second == 2.0
    assert report.served.accuracy == 0.5
    assert report.labels["trained"] == 2
    assert (report.events_records, report.labels_records) == (3, 2)


def test_what_is_missing_twice_or_unaccounted_is_said() -> None:
    missing = example(predicted=[0])
    assert (missing.complete, missing.missing_predictions) == (False, 1)
    twice = example(predicted=[0, 1, 1])
    assert (twice.complete, twice.duplicate_predictions) == (False, 1)
    lost = example(states={(0, 0): State.TRAINED}, learned=[(1, 0)])
    assert (lost.complete, lost.labels["unaccounted"]) == (False, 1)


def test_what_was_sent_and_is_not_there_and_what_is_there_and_was_not_sent_is_said() -> None:
    lost = example(records_sent=4)
    assert (lost.complete, lost.missing_predictions, lost.events_records) == (False, 1, 3)
    assert not example(records_sent=2).complete, "a record lies in the topic twice"
    assert not example(labels_sent=1).complete
    assert not example(labels_sent=3).complete


def test_labels_that_are_not_as_they_must_be_are_said() -> None:
    twice = example(learned=[(1, 0), (2, 1), (3, 1)])
    assert (twice.complete, twice.learned_twice) == (False, 1)
    wrong = example(states={**TRAINED, (0, 1): State.DUPLICATE})
    assert (wrong.complete, wrong.labels_differ, wrong.learned_not_stated) == (False, 1, 1)
    assert wrong.label_differences == ["label of event 1 at 0:1: duplicate, expected trained"]
    gone = example(learned=[(1, 0)])
    assert (gone.complete, gone.stated_not_learned) == (False, 1)


def test_a_label_before_its_event_is_measured_from_its_event_on() -> None:
    assert example(label_times=(1500, 1600)).latency_ms.label_to_model.p50 == 500.0
    assert example(label_times=(200, 1600)).latency_ms.label_to_model.p50 == 1000.0


def test_differences_are_cut_to_ten() -> None:
    report = example(differences=[str(n) for n in range(30)])
    assert not report.redis_matches_kafka
    assert len(report.redis_differences) == 10


def test_the_file_is_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    write_report(example(), path)
    assert msgspec.json.decode(path.read_bytes())["labels"]["trained"] == 2
