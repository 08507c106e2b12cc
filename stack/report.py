"""The report on a run: computed by reading the committed topics and Redis afresh, never from counters of the parts under test.

Every key is described in `docs/report.md`; a test compares the two.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from schemas.records import DEFAULT_TASK, ModelVersion
from schemas.topics import Topic
from stack.observation import Observed
from stack.recount import Bucket, count_differences, newest_differences, roll_up, state_differences
from stack.report_metrics import (
    UNACCOUNTED,
    Floats,
    Ints,
    Percentiles,
    ServedScores,
    event_latencies,
    first_times,
    label_counts,
    label_latencies,
    percentiles,
    served_scores,
)
from stack.tallies import DeadLetters, Events, Labels, ModelLog, Predictions
from store.committed import Ends, begin_offsets, first_timestamps, read_committed
from store.connect import connect_redis
from store.reader import RedisReader
from store.writer import TEXT_SHOWN

NEWEST = 2000
DIFFERENCES_SHOWN = 10
REDIS_PATIENCE_S = 20.0
_ALL = 10**9


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
    predictions: int
    duplicate_predictions: int
    missing_predictions: int
    dead_letters: int
    labels_sent: int
    labels: dict[str, int]
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


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a run before the topics are read.

    Attributes:
        ends: where the topics ended when the run began; nothing of the run lies before.
        started: epoch seconds of the first send.
        unfinished: what was still missing when waiting for it was given up.
    """

    kafka: str
    redis: str
    topic_prefix: str
    recent: int
    dataset: str
    task: str
    run_id: str
    ends: Ends
    started: float
    finished: float
    events_sent: int
    labels_sent: int
    lines_skipped: int
    unfinished: list[str]
    restarts: int | None = None
    peak_rss_mib: float | None = None


class Committed(msgspec.Struct, frozen=True):
    """What the topics hold."""

    dead: DeadLetters
    events: Events
    predictions: Predictions
    labels: Labels
    log: ModelLog


def read_topics(run: Run) -> Committed:
    """Read every topic of the run: predictions, label states and model log from their beginnings, the rest from where the run began.

    Raises:
        KafkaUnavailable: if a topic cannot be read.
    """

    def read(topic: Topic, add: Callable[..., None], *, all_runs: bool = False) -> None:
        for batch in read_committed(run.kafka, run.topic_prefix + topic, None if all_runs else run.ends[topic]):
            add(batch)

    dead = DeadLetters(run.topic_prefix)
    read(Topic.DEAD_LETTERS, dead.add)
    for topic in (Topic.EVENTS, Topic.FEEDBACK):
        dead.places[topic] = {(p, o) for p, o in dead.places[topic] if o >= run.ends[topic].get(p, 0)}
    events = Events(run.run_id, dead.places[Topic.EVENTS])
    read(Topic.EVENTS, events.add)
    predictions = Predictions(run.run_id, task=run.task, newest=min(NEWEST, run.recent))
    read(Topic.PREDICTIONS, predictions.add, all_runs=True)
    labels = Labels(run.run_id)
    read(Topic.FEEDBACK, labels.add_feedback)
    read(Topic.LABEL_STATES, labels.add_states, all_runs=True)
    log = ModelLog(run.run_id, run.task)
    read(Topic.MODEL_LOG, log.add, all_runs=True)
    return Committed(dead, events, predictions, labels, log)


def make_report(run: Run, observed: Observed) -> Report:
    """Read Kafka and Redis and return the report.

    Raises:
        KafkaUnavailable: if a topic cannot be read.
        RedisUnavailable: if Redis does not answer.
    """
    committed = read_topics(run)
    differences = wait_for_redis(run, committed)
    return build(run, committed, observed, differences)


def build(run: Run, committed: Committed, observed: Observed, differences: list[str]) -> Report:
    """Put the report together from what was read."""
    events, labels, log = committed.events, committed.labels, committed.log
    sent_ms = np.frombuffer(events.sent_ms, np.int64) if events.sent_ms else np.empty(0, np.int64)
    predicted = committed.predictions.predicted()
    sent = set(np.flatnonzero(sent_ms).tolist())
    visible = first_times(observed.visible_n, observed.visible_at, sent_ms.size)
    latencies, unmeasured = _latencies(committed, observed, sent_ms.astype(np.int64), visible)
    states = label_counts(labels.sent_ms.keys() | labels.unreadable, labels.last_state)
    missing = len(sent - predicted - events.refused_numbers) + max(0, run.events_sent - len(sent))
    complete = not (run.unfinished or missing or states[UNACCOUNTED] or committed.predictions.duplicates)
    return Report(
        dataset=run.dataset,
        run_id=run.run_id,
        task=run.task,
        complete=complete,
        unfinished=run.unfinished,
        events_sent=run.events_sent,
        predictions=len(predicted),
        duplicate_predictions=committed.predictions.duplicates,
        missing_predictions=missing,
        dead_letters=sum(len(places) for places in committed.dead.places.values()),
        labels_sent=run.labels_sent,
        labels=states,
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


def _latencies(committed: Committed, observed: Observed, sent_ms: Ints, visible: Floats) -> tuple[Latencies, int]:
    arrived = first_times(observed.arrived_n, observed.arrived_at, sent_ms.size)
    timed = [(o.seq, committed.labels.sent_ms[o.place]) for o in committed.log.outcomes if o.place in committed.labels.sent_ms]
    table = np.array(timed, np.int64).reshape(-1, 2)
    to_model = label_latencies(table[:, 0], table[:, 1], observed.arrived_at, observed.arrived_seq)
    measured = to_model[~np.isnan(to_model)]
    latencies = Latencies(
        event_to_prediction=percentiles(event_latencies(sent_ms, arrived)),
        event_to_redis=percentiles(event_latencies(sent_ms, visible)),
        label_to_model=percentiles(measured),
    )
    return latencies, int(to_model.size - measured.size)


def _rate(started: float, visible: Floats) -> float | None:
    seen = visible[~np.isnan(visible)]
    return round(seen.size / (float(seen.max()) - started), 1) if seen.size and seen.max() > started else None


def wait_for_redis(run: Run, committed: Committed) -> list[str]:
    """Compare Redis with the topics until they agree, or for a while; return where they still differ."""
    reader = RedisReader(connect_redis(run.redis), topic_prefix=run.topic_prefix)
    retained_from = _retained_from(run)
    deadline = time.monotonic() + REDIS_PATIENCE_S
    while True:
        differences = compare_redis(run, committed, reader, retained_from=retained_from, now=int(time.time() * 1000))
        if not differences or time.monotonic() > deadline:
            return differences
        time.sleep(0.5)


def compare_redis(run: Run, committed: Committed, reader: RedisReader, *, retained_from: int, now: int) -> list[str]:
    """Return in words where Redis differs from the topics: counts, label states, newest predictions."""
    per_minute: dict[str, Counter[tuple[str, int]]] = {run.task: Counter()}
    for (task, label, minute), count in committed.predictions.per_minute.items():
        per_minute.setdefault(task, Counter())[label, minute] += count
    differences: list[str] = []
    for task, counts in sorted(per_minute.items()):
        differences += count_differences(roll_up(counts), redis_counts(reader, task), now=now, retained_from=retained_from)
    tasks = committed.labels.task_of
    states = Counter(str(s) for place, s in committed.labels.last_state.items() if (tasks[place] or DEFAULT_TASK) == run.task)
    differences += state_differences(states, reader.label_states(run.task))
    newest = committed.predictions.newest()
    shown = reader.predictions(run.task, limit=max(1, min(NEWEST, run.recent))).predictions
    return differences + newest_differences(newest, shown, text_shown=TEXT_SHOWN)


def redis_counts(reader: RedisReader, task: str) -> dict[Bucket, int]:
    """Return every count of predictions in Redis."""
    return {
        (granularity, bucket.start, label): count
        for granularity in ("total", "minute", "hour", "day")
        for bucket in reader.counts(task, "predictions", granularity, limit=_ALL)
        for label, count in bucket.counts.items()
    }


def _retained_from(run: Run) -> int:
    """Return the time from which Kafka has every prediction: 0, or that of the newest first record if the topic has been cut."""
    topic = run.topic_prefix + Topic.PREDICTIONS
    cut = {partition for partition, offset in begin_offsets(run.kafka, topic).items() if offset > 0}
    return max((t for p, t in first_timestamps(run.kafka, topic).items() if p in cut), default=0) if cut else 0


def write_report(report: Report, path: Path) -> None:
    """Write the report as indented JSON.

    Raises:
        OSError: if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
