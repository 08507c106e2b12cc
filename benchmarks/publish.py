"""What the trending names cost job publish: the same predictions through it with and without, in turns.

Only publish runs, on predictions that lie in Kafka already. Beside events a second stands the processor time of the TaskManager for each
event, which depends less on what else the machine does. Both are taken after the first fifth: before it the JVM starts and compiles.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from benchmarks.backlog import POLL_S
from schemas.parsing import encode
from schemas.records import ModelVersion, Position, Prediction
from schemas.settings import Settings
from schemas.topics import Topic
from stack.embedded import Stack
from stack.generator import generate
from store.connect import connect_producer, connect_redis
from store.reader import RedisReader

_PORTS = dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0)


def main(arguments: list[str]) -> None:
    """Preload, run publish on it in turns with and without, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks publish")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args(arguments)
    rates: dict[bool, list[float]] = {True: [], False: []}
    costs: dict[bool, list[float]] = {True: [], False: []}
    for run in range(2 * args.runs):
        trending = run % 2 == 1
        rate, cost = _run(args.events, trending=trending)
        rates[trending].append(rate)
        costs[trending].append(cost)
        print(f"trending {'on ' if trending else 'off'} {rate:9,.0f} events/s   {cost:6.1f} µs of processor an event", flush=True)
    speed, cost = (statistics.median(of[True]) / statistics.median(of[False]) for of in (rates, costs))
    print(f"on beside off: {speed:.2f} of the events a second, {cost:.2f} of the processor time")


def _run(events: int, *, trending: bool) -> tuple[float, float]:
    """Return events a second, and processor time for each in microseconds."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        empty = Stack(Path(folder), ports=_PORTS, jobs=())
        empty.start()
        try:
            _preload(empty.settings, events)
        finally:
            empty.stop()
        stack = Stack(Path(folder), {"trending": trending}, jobs=("publish",))
        stack.start()
        try:
            begin, end = _marks(stack, events // 5), _marks(stack, events)
        finally:
            stack.stop()
    time_s, processor_s, done = (after - before for before, after in zip(begin, end, strict=True))
    return done / time_s, processor_s / done * 1e6


def _marks(stack: Stack, events: int) -> tuple[float, float, int]:
    """Wait until so many events are counted in Redis; return the time, the TaskManager's processor time, and how many there are."""
    reader = RedisReader(connect_redis(stack.settings.redis), topic_prefix=stack.settings.topic_prefix)
    taskmanager = psutil.Process(stack.pids()["taskmanager"])
    while True:
        buckets = reader.counts("default", "predictions", "total", limit=1)
        seen = sum(buckets[0].counts.values()) if buckets else 0
        if seen >= events:
            used = taskmanager.cpu_times()
            return time.monotonic(), used.user + used.system, seen
        time.sleep(POLL_S)


def _preload(settings: Settings, events: int) -> None:
    with closing(connect_producer(settings.kafka)) as producer:
        for prediction in _predictions(events):
            headers = [("task", b"default"), ("label", b"a")]
            producer.send(settings.topic_prefix + Topic.PREDICTIONS, encode(prediction), key=prediction.event_id.encode(), headers=headers)
        producer.flush()


def _predictions(events: int) -> Iterator[Prediction]:
    for number, row in enumerate(generate(events, seed=1)):
        yield Prediction(
            label="a", proba={"a": 0.7, "b": 0.2, "c": 0.1}, classes=3, model=ModelVersion(line="base", seq=number),
            event_id=f"e{number}", task="default", text=f"{row.text} #tag{number % 300} @name{number % 5000}", meta={}, event_ts=number,
            predicted_at=number, source=Position(partition=0, offset=number),
        )  # fmt: skip
