"""Compares Redis with the committed topics."""

from __future__ import annotations

import time
from collections import Counter

from schemas.records import DEFAULT_TASK
from schemas.topics import Topic
from stack.recount import Bucket, count_differences, newest_differences, roll_up, state_differences
from stack.report_labels import state_of
from stack.report_topics import NEWEST, Committed, Run
from store.committed import begin_offsets, first_timestamps
from store.connect import connect_redis
from store.reader import RedisReader
from store.writer import TEXT_SHOWN

REDIS_PATIENCE_S = 20.0
_ALL = 10**9


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
    states = Counter(str(s) for place, s in state_of(committed.labels).items() if (tasks[place] or DEFAULT_TASK) == run.task)
    differences += state_differences(states, reader.label_states(run.task))
    newest, open_ids = committed.predictions.newest.read()
    shown = reader.predictions(run.task, limit=max(1, min(NEWEST, run.recent))).predictions
    return differences + newest_differences(newest, shown, text_shown=TEXT_SHOWN, open_ids=open_ids)


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
