"""How fast a preloaded backlog goes through everything, beside a plain kafka-python loop with the same model.

The loop is what one would write first: consume, predict, produce; no labels, no Redis, no exactly-once. It runs before
the jobs do, on the same events and the same broker.

Beside events a second stands what each process took of the processors for 1,000 events, which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
from kafka.admin import KafkaAdminClient, NewTopic

from online_model.softmax import HashedSoftmax, warm_up
from schemas.parsing import encode, parse_event
from schemas.records import ModelVersion, Position, Prediction
from schemas.settings import Settings
from schemas.topics import Topic
from stack.embedded import Stack
from stack.generator import generate
from stack.schedule import Plan
from stack.sender import Replay
from store.committed import read_committed
from store.connect import connect_producer, connect_redis
from store.reader import RedisReader

POLL_S = 0.25
SAY_S = 5.0
SHOWN_MS = 0.05
LOOP_EVENTS = 50_000
LOOP_TOPIC = "loop"
"""A topic of its own: what the loop says must not count."""


class Mark(NamedTuple):
    """How far it was at a time: events done, and seconds of a processor that each process has taken since it began."""

    time: float
    events: int
    processor_s: dict[str, float]

    def per_second(self, end: Mark) -> float:
        """Return events a second from here to another mark; not a number if that is this one."""
        return (end.events - self.events) / (end.time - self.time) if end.time > self.time else float("nan")

    def processor_ms(self, end: Mark) -> dict[str, float]:
        """Return milliseconds of a processor for 1,000 events from here to another mark, by process, most first."""
        events = max(1, end.events - self.events)
        took = {name: (seconds - self.processor_s.get(name, 0.0)) * 1e6 / events for name, seconds in end.processor_s.items()}
        return dict(sorted(took.items(), key=lambda item: -item[1]))


def main(arguments: list[str]) -> None:
    """Preload, run the loop, start the jobs, and print events a second and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks backlog")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--label-fraction", type=float, default=0.05)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        empty = Stack(Path(folder), ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0), jobs=())
        empty.start()
        try:
            preload(empty.settings, args.events, args.label_fraction)
            begin, end = _plain_loop(empty, min(LOOP_EVENTS, args.events))
        finally:
            empty.stop()
        loop = begin.per_second(end)
        _say("kafka-python loop, predict only", begin, end)
        full = Stack(Path(folder))
        full.start()
        try:
            first, fifth, last, peak_mib = drain(full, args.events)
        finally:
            full.stop()
    _say("Millrace, events to Redis, learning", first, last, loop)
    _say("  after the first fifth (compiled)", fifth, last, loop)
    print(f"  peak {peak_mib:,.0f} MiB")


def _say(what: str, begin: Mark, end: Mark, loop: float | None = None) -> None:
    rate, took = begin.per_second(end), begin.processor_ms(end)
    print(f"{what:36} {rate:9,.0f} events/s" + (f"   {rate / loop:.2f} of the loop" if loop else ""))
    each = ", ".join(f"{name} {ms:.1f}" for name, ms in took.items() if ms >= SHOWN_MS)
    print(f"{'':36} {sum(took.values()):9.1f} ms of a processor for 1,000 events: {each}", flush=True)


def preload(settings: Settings, events: int, fraction: float) -> None:
    """Send the generated stream to Kafka, labels for a share of it."""
    started = time.monotonic()
    plan = Plan(label_fraction=fraction, label_delay_s=0)
    Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=plan).send(generate(events, seed=1))
    print(f"preloaded {events:,} events in {time.monotonic() - started:.0f} s", flush=True)


def _plain_loop(stack: Stack, events: int) -> tuple[Mark, Mark]:
    """Consume, predict, produce; return when it began and when it ended."""
    settings = stack.settings
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        admin.create_topics([NewTopic(LOOP_TOPIC, settings.topic_partitions, 1)])
    warm_up()
    model, rows = HashedSoftmax(settings.model_memory_mib), generate(2000, seed=7)
    for row in rows:
        model.learn_one(row.text, row.label or "")
    done = 0
    began = mark(stack, done, loop=True)
    with closing(connect_producer(settings.kafka)) as producer:
        for batch in read_committed(settings.kafka, settings.topic_prefix + Topic.EVENTS):
            for record in batch:
                event = parse_event(record.value, tasks=set(settings.tasks), max_text_bytes=settings.max_text_bytes)
                proba = model.predict_top(event.text, settings.proba_top)
                prediction = Prediction(
                    label=next(iter(proba), None), proba=proba, classes=len(model.classes), model=ModelVersion(line="loop", seq=0),
                    event_id=event.event_id, task=event.task, text=event.text, meta=event.meta, event_ts=record.timestamp,
                    predicted_at=0, source=Position(partition=record.partition, offset=record.offset),
                )  # fmt: skip
                producer.send(LOOP_TOPIC, encode(prediction), key=event.event_id.encode())
            done += len(batch)
            if done >= events:
                break
        producer.flush()
    return began, mark(stack, done, loop=True)


def mark(stack: Stack, events: int, *, loop: bool = False) -> Mark:
    """Return what the stack's processes, and this one if it is the loop, have taken until now."""
    took: dict[str, float] = {}
    for name, pid in {**stack.pids(), **({"loop": os.getpid()} if loop else {})}.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            took[name] = sum(psutil.Process(pid).cpu_times()[:2])
    return Mark(time.monotonic(), events, took)


def drain(stack: Stack, events: int) -> tuple[Mark, Mark, Mark, float]:
    """Return the marks of the first prediction in Redis, of a fifth of them and of the last one, and peak memory in MiB."""
    reader = RedisReader(connect_redis(stack.settings.redis), topic_prefix=stack.settings.topic_prefix)
    marks: list[Mark] = []
    peak, seen, said = 0.0, 0, time.monotonic()
    if not stack.state().healthy():
        raise RuntimeError("a job does not run: see `millrace status`")
    while seen < events:
        time.sleep(POLL_S)
        seen = _counted(reader)
        peak = max(peak, _rss_mib(stack))
        if seen and (not marks or (len(marks) == 1 and seen >= events / 5)):
            marks.append(mark(stack, seen))
        if time.monotonic() - said > SAY_S:
            print(f"  {seen:,} of {events:,} in Redis", flush=True)
            said = time.monotonic()
    return marks[0], marks[-1], mark(stack, seen), peak


def _counted(reader: RedisReader) -> int:
    buckets = reader.counts("default", "predictions", "total", limit=1)
    return sum(buckets[0].counts.values()) if buckets else 0


def _rss_mib(stack: Stack) -> float:
    total = 0
    for pid in stack.pids().values():
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20
