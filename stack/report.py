"""The report on a run: computed by reading the committed topics and Redis afresh, never from counters of the parts under test.

Every key is described in `docs/report.md`; a test compares the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from schemas.records import ModelVersion
from stack.observation import Observed
from stack.report_labels import LabelVerdict, judge_labels, state_of
from stack.report_metrics import (
    UNACCOUNTED,
    Floats,
    Ints,
    Percentiles,
    RecordCounts,
    ServedScores,
    event_latencies,
    first_times,
    label_counts,
    label_latencies,
    percentiles,
    record_counts,
    served_scores,
)
from stack.report_redis import wait_for_redis
from stack.report_topics import Committed, Run, read_topics
from store.connect import KafkaUnavailable, RedisUnavailable

DIFFERENCES_SHOWN = 10
OUTAGE_S = 300.0
"""So long a broker or a Redis that does not answer is asked again."""
_ASK_AGAIN_S = 1.0

T = TypeVar("T")


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Times as the outside sees them."""

    event_to_prediction: Percentiles
    event_to_redis: Percentiles
    label_to_model: Percentiles


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did; `docs/report.md` says what each key means."""

    dataset: str
    run_id: str
    task: str
    complete: bool
    unfinished: list[str]
    events_sent: int
    events_records_sent: int
    events_records: int
    predictions: int
    duplicate_predictions: int
    missing_predictions: int
    dead_letters: int
    labels_sent: int
    labels_records: int
    labels: dict[str, int]
    labels_differ: int
    label_differences: list[str]
    learned_twice: int
    learned_not_stated: int
    stated_not_learned: int
    lines_skipped: int
    served: ServedScores
    events_per_second: float | None
    seconds: float
    latency_ms: Latencies
    labels_without_later_prediction: int
    restarts: int | None
    redis_matches_kafka: bool
    redis_differences: list[str]
    model: ModelVersion
    model_log_gaps: list[str]
    peak_rss_mib: float | None


def make_report(run: Run, observed: Observed) -> Report:
    """Read Kafka and Redis and return the report.

    Raises:
        KafkaUnavailable: if a topic cannot be read, again and again for `OUTAGE_S`.
        RedisUnavailable: if Redis does not answer for as long.
    """
    committed = answered(lambda: read_topics(run))
    differences = answered(lambda: wait_for_redis(run, committed))
    return build(run, committed, observed, differences)


def answered(ask: Callable[[], T]) -> T:
    """Ask until there is an answer: a server that starts again in the middle of a reading is read again from the beginning.

    Raises:
        KafkaUnavailable, RedisUnavailable: if there is none for `OUTAGE_S`.
    """
    deadline = time.monotonic() + OUTAGE_S
    while True:
        try:
            return ask()
        except (KafkaUnavailable, RedisUnavailable):
            if time.monotonic() > deadline:
                raise
            time.sleep(_ASK_AGAIN_S)


def build(run: Run, committed: Committed, observed: Observed, differences: list[str]) -> Report:
    """Put the report together from what was read."""
    labels, log = committed.labels, committed.log
    sent_ms = np.array(committed.events.sent_ms, np.int64)
    visible = first_times(observed.visible_n, observed.visible_at, sent_ms.size)
    latencies, unmeasured = _latencies(committed, observed, sent_ms, visible)
    states = label_counts(labels.records.keys() | labels.unreadable, state_of(labels))
    records = _records(committed)
    verdict = judge_labels(labels, log, committed.predictions, run.rules)
    return Report(
        dataset=run.dataset,
        run_id=run.run_id,
        task=run.task,
        complete=not run.unfinished and _exact(run, committed, records, verdict) and not states[UNACCOUNTED],
        unfinished=run.unfinished,
        events_sent=run.events_sent,
        events_records_sent=run.events_records_sent,
        events_records=records.records,
        predictions=int(np.count_nonzero(np.array(committed.predictions.first_at, np.int64))),
        duplicate_predictions=records.duplicates,
        missing_predictions=records.missing + max(0, run.events_records_sent - records.records),
        dead_letters=sum(len(places) for places in committed.dead.places.values()),
        labels_sent=run.labels_sent,
        labels_records=len(labels.records),
        labels=states,
        labels_differ=verdict.differ,
        label_differences=verdict.differences[:DIFFERENCES_SHOWN],
        learned_twice=verdict.learned_twice,
        learned_not_stated=verdict.learned_not_stated,
        stated_not_learned=verdict.stated_not_learned,
        lines_skipped=run.lines_skipped,
        served=served_scores(log.outcomes),
        events_per_second=_rate(run.started, visible),
        seconds=round(run.finished - run.started, 3),
        latency_ms=latencies,
        labels_without_later_prediction=unmeasured,
        restarts=run.restarts,
        redis_matches_kafka=not differences,
        redis_differences=differences[:DIFFERENCES_SHOWN],
        model=ModelVersion(line=committed.predictions.model.line, seq=log.seq),
        model_log_gaps=log.gaps[:DIFFERENCES_SHOWN],
        peak_rss_mib=run.peak_rss_mib,
    )


def _records(committed: Committed) -> RecordCounts:
    events, predictions = committed.events, committed.predictions
    return record_counts(
        *(np.array(column, np.int64) for column in (events.places, events.numbers, events.refused)),
        *(np.array(column, np.int64) for column in (predictions.sources, predictions.numbers)),
    )


def _exact(run: Run, committed: Committed, records: RecordCounts, verdict: LabelVerdict) -> bool:
    """Return whether what was sent is in its topics once, is answered once, and was learned as the rules say."""
    sent = (run.events_records_sent, run.labels_sent)
    there = (records.records, len(committed.labels.records))
    return sent == there and not (records.missing or records.duplicates or committed.log.gaps) and verdict.good


def _latencies(committed: Committed, observed: Observed, sent_ms: Ints, visible: Floats) -> tuple[Latencies, int]:
    arrived = first_times(observed.arrived_n, observed.arrived_at, sent_ms.size)
    labels = committed.labels.records
    # A label that was sent before its event is measured from the event on: it could not be learned before.
    timed = [(o.seq, max(labels[o.place].time, _at(sent_ms, o.event))) for o in committed.log.outcomes if o.place in labels]
    table = np.array(timed, np.int64).reshape(-1, 2)
    to_model = label_latencies(table[:, 0], table[:, 1], observed.arrived_at, observed.arrived_seq)
    measured = to_model[~np.isnan(to_model)]
    latencies = Latencies(
        event_to_prediction=percentiles(event_latencies(sent_ms, arrived)),
        event_to_redis=percentiles(event_latencies(sent_ms, visible)),
        label_to_model=percentiles(measured),
    )
    return latencies, int(to_model.size - measured.size)


def _at(sent_ms: Ints, event: int) -> int:
    return int(sent_ms[event]) if event < sent_ms.size else 0


def _rate(started: float, visible: Floats) -> float | None:
    seen = visible[~np.isnan(visible)]
    return round(seen.size / (float(seen.max()) - started), 1) if seen.size and seen.max() > started else None


def write_report(report: Report, path: Path) -> None:
    """Write the report as indented JSON.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
