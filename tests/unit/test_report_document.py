import re
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.records import State
from schemas.topics import Topic
from stack.observation import Observed
from stack.report import Committed, Report, Run, build, write_report
from stack.report_metrics import Outcome
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
        ends={topic: {} for topic in Topic},
        started=1.0,
        finished=4.0,
        events_sent=3,
        labels_sent=2,
        lines_skipped=0,
        unfinished=[],
    )
    dead = DeadLetters("")
    dead.places[Topic.EVENTS].add((0, 2))
    events = Events("r", dead.places[Topic.EVENTS])
    events.sent_ms, events.refused_numbers = array("q", [1000, 1100, 1200]), {2}
    predictions = Predictions("r", task="default", newest=5)
    for number in changes.get("predicted", [0, 1]):
        predictions._count(number)
    labels = Labels("r")
    labels.sent_ms = {(0, 0): 1500, (0, 1): 1600}
    labels.last_state = changes.get("states", {(0, 0): State.TRAINED, (0, 1): State.TRAINED})
    log = ModelLog("r", "default")
    log.outcomes, log.seq = [Outcome(1, "a", None, (0, 0)), Outcome(2, "a", "a", (0, 1))], 2
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


def test_what_is_missing_twice_or_unaccounted_is_said() -> None:
    missing = example(predicted=[0])
    assert (missing.complete, missing.missing_predictions) == (False, 1)
    twice = example(predicted=[0, 1, 1])
    assert (twice.complete, twice.duplicate_predictions) == (False, 1)
    lost = example(states={(0, 0): State.TRAINED})
    assert (lost.complete, lost.labels["unaccounted"]) == (False, 1)


def test_differences_are_cut_to_ten() -> None:
    report = example(differences=[str(n) for n in range(30)])
    assert not report.redis_matches_kafka
    assert len(report.redis_differences) == 10


def test_the_file_is_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    write_report(example(), path)
    assert msgspec.json.decode(path.read_bytes())["labels"]["trained"] == 2
