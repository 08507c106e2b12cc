"""Watches what the stack puts out, from outside and in a process of its own, so that neither producer nor stack is disturbed.

`python -m stack.observe '<Watch as JSON>'` notes when each prediction of a run became visible to a committed reader of
Kafka, and when in Redis. It prints a `Status` as a JSON line four times a second, the first when it is ready; when its
standard input ends, it writes what it has seen to `Watch.out` (NumPy .npz) and ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import redis
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from schemas.topics import Topic
from stack.observe_redis import Arrivals, RedisWatcher
from stack.observe_tally import Tally
from stack.watch import Status, Watch
from store.committed import Ends, open_consumer, partitions_of
from store.connect import RedisUnavailable, check_redis, connect_redis, kafka_listens
from store.keys import Keys

STATUS_S = 0.25
LOOK_S = 1.0
WATCHED = (Topic.PREDICTIONS, Topic.LABEL_STATES, Topic.DEAD_LETTERS)
SCOPED = (*WATCHED, Topic.EVENTS, Topic.FEEDBACK)


def _start_at_end(consumer: KafkaConsumer, prefix: str) -> Ends:
    """Assign the watched topics from their present ends, and return the ends of all topics a run writes to or causes."""
    parts = [part for topic in SCOPED for part in partitions_of(consumer, prefix + topic)]
    ends = consumer.end_offsets(parts)
    watched = {prefix + topic for topic in WATCHED}
    consumer.assign([part for part in parts if part.topic in watched])
    for part in consumer.assignment():
        consumer.seek(part, ends[part])
    result: Ends = {}
    for part in parts:
        result.setdefault(part.topic.removeprefix(prefix), {})[part.partition] = ends[part]
    return result


class Presence(threading.Thread):
    """Looks whether the servers are there: a consumer does not say that its broker is not, it only brings nothing."""

    def __init__(self, kafka: str, client: redis.Redis, stop: threading.Event) -> None:
        super().__init__(name="presence")
        self._kafka = kafka
        self._redis = client
        self._stopping = stop
        self.away: list[str] = []

    def run(self) -> None:
        """Look until it is to stop."""
        while not self._stopping.wait(LOOK_S):
            self.away = ["Kafka"] * (not kafka_listens(self._kafka)) + ["Redis"] * (not self._redis_answers())

    def _redis_answers(self) -> bool:
        try:
            check_redis(self._redis)
        except RedisUnavailable:
            return False
        return True


def observe(watch: Watch, stop: threading.Event) -> None:
    """Watch until `stop` is set, then write the observations. A broker or a Redis that goes away is waited for."""
    arrivals = Arrivals()
    client = connect_redis(watch.redis)
    watcher = RedisWatcher(client, Keys(watch.topic_prefix).predictions_by_time(watch.task), watch.run_id, arrivals, watch.recent)
    helpers = (threading.Thread(target=watcher.watch, args=(stop,), name="redis"), presence := Presence(watch.kafka, client, stop))
    with closing(open_consumer(watch.kafka)) as consumer:
        tally = Tally(watch, arrivals, _start_at_end(consumer, watch.topic_prefix))
        for helper in helpers:
            helper.start()
        told = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if now - told >= STATUS_S:
                told = now
                _print(tally.status(watcher.passed, presence.away))
            try:
                batches = consumer.poll(timeout_ms=100)
            except KafkaError:
                stop.wait(STATUS_S)
                continue
            for part, records in batches.items():
                tally.add(part.topic.removeprefix(watch.topic_prefix), records, time.time())
    for helper in helpers:
        helper.join()
    np.savez(
        Path(watch.out),
        arrived_n=tally.arrived_n,
        arrived_at=tally.arrived_at,
        arrived_seq=tally.arrived_seq,
        visible_n=watcher.visible_n,
        visible_at=watcher.visible_at,
    )


def _print(status: Status) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(status) + b"\n")
    sys.stdout.buffer.flush()


def main(argument: str) -> int:
    """Run as a process of its own."""
    watch = msgspec.json.decode(argument, type=Watch)
    # Ctrl-C reaches the whole process group; the parent decides when this process has seen enough.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = threading.Event()
    parent = os.getppid()

    def wait_for_end_of_input() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    try:
        observe(watch, stop)
    except BrokenPipeError:  # the parent has died
        return 1
    finally:
        stop.set()
        if os.getppid() != parent and watch.out:
            # Nobody is left who would fetch what was seen, and remove the folder.
            shutil.rmtree(Path(watch.out).parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
