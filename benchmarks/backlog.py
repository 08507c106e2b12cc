"""How fast a preloaded backlog goes through everything, beside a plain kafka-python loop with the same model.

The loop is what one would write first: consume, predict, produce; no labels, no Redis, no exactly-once. It runs before
the jobs do, on the same events and the same broker.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

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
LOOP_EVENTS = 50_000
LOOP_TOPIC = "loop"
"""A topic of its own: what the loop says must not count."""


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
            loop = _plain_loop(empty.settings, min(LOOP_EVENTS, args.events))
        finally:
            empty.stop()
        print(f"kafka-python loop, predict only        {loop:9,.0f} events/s", flush=True)
        full = Stack(Path(folder))
        full.start()
        try:
            whole, warm, peak_mib = drain(full, args.events)
        finally:
            full.stop()
    print(f"Millrace, events to Redis, learning    {whole:9,.0f} events/s   {whole / loop:.2f} of the loop   peak {peak_mib:,.0f} MiB")
    print(f"  after the first fifth (compiled)     {warm:9,.0f} events/s   {warm / loop:.2f} of the loop")


def preload(settings: Settings, events: int, fraction: float) -> None:
    """Send the generated stream to Kafka, labels for a share of it."""
    started = time.monotonic()
    plan = Plan(label_fraction=fraction, label_delay_s=0)
    Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=plan).send(generate(events, seed=1))
    print(f"preloaded {events:,} events in {time.monotonic() - started:.0f} s", flush=True)


def _plain_loop(settings: Settings, events: int) -> float:
    """Return events a second of consume, predict, produce."""
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        admin.create_topics([NewTopic(LOOP_TOPIC, settings.topic_partitions, 1)])
    warm_up()
    model, rows = HashedSoftmax(settings.model_memory_mib), generate(2000, seed=7)
    for row in rows:
        model.learn_one(row.text, row.label or "")
    done = 0
    started = time.monotonic()
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
    return done / (time.monotonic() - started)


def drain(stack: Stack, events: int) -> tuple[float, float, float]:
    """Return events a second from the first prediction in Redis to the last, the same after a fifth of them, and peak memory in MiB."""
    reader = RedisReader(connect_redis(stack.settings.redis), topic_prefix=stack.settings.topic_prefix)
    marks: list[tuple[float, int]] = []
    peak, seen = 0.0, 0
    now = said = time.monotonic()
    if not stack.state().healthy():
        raise RuntimeError("a job does not run: see `millrace status`")
    while seen < events:
        time.sleep(POLL_S)
        seen = _counted(reader)
        now = time.monotonic()
        peak = max(peak, _rss_mib(stack))
        if seen and (not marks or (len(marks) == 1 and seen >= events / 5)):
            marks.append((now, seen))
        if now - said > 5:
            print(f"  {seen:,} of {events:,} in Redis", flush=True)
            said = now
    whole, warm = ((seen - before) / (now - then) if now > then else float("nan") for then, before in (marks[0], marks[-1]))
    return whole, warm, peak


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
