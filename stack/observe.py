"""Watches what the stack puts out, from outside and in a process of its own, so that neither producer nor stack is disturbed.

`python -m stack.observe '<Watch as JSON>'` notes when each prediction of a run became visible to a committed reader of
Kafka, and when in Redis. It prints a `Status` as a JSON line four times a second, the first when it is ready; when its
standard input ends, it writes what it has seen to `Watch.out` (NumPy .npz) and ends.
"""

from __future__ import annotations

import base64
import signal
import sys
import threading
import time
from array import array
from collections import Counter, deque
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
from kafka import KafkaConsumer
from kafka.consumer.fetcher import ConsumerRecord

from schemas.records import DeadLetter, Position, Prediction, State
from schemas.topics import Topic
from stack.observe_redis import Arrivals, RedisWatcher
from store.committed import Ends, open_consumer, partitions_of
from store.connect import connect_redis
from store.keys import Keys

STATUS_S = 0.25
WINDOW = 1000
LATEST = 8
WATCHED = (Topic.PREDICTIONS, Topic.LABEL_STATES, Topic.DEAD_LETTERS)
SCOPED = (*WATCHED, Topic.EVENTS, Topic.FEEDBACK)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What to watch: one run's event ids (`<run id>-<number>`) of one task."""

    kafka: str
    redis: str
    topic_prefix: str
    task: str
    run_id: str
    recent: int
    out: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A recent prediction, for people to look at."""

    text: str
    label: str | None
    probability: float


class Status(msgspec.Struct, kw_only=True):
    """What has been seen so far; counts are of different events of the run, and label states of different feedback records."""

    ends: Ends = {}
    predictions: int = 0
    visible: int = 0
    seq: int = 0
    line: str = ""
    states: dict[str, int] = {}
    dead_letters: dict[str, int] = {}
    accuracy: float | None = None
    accuracy_window: float | None = None
    latest: list[Shown] = []


class _Model(msgspec.Struct):
    line: str
    seq: int


class _Prediction(msgspec.Struct):
    """The few fields of a prediction that are needed of every one."""

    event_id: str
    task: str
    predicted_at: int
    model: _Model


class _Score(msgspec.Struct):
    correct: bool


class _Feedback(msgspec.Struct):
    at: Position


class _LabelState(msgspec.Struct):
    state: State
    feedback: _Feedback
    event_id: str | None
    score: _Score | None


_decode_prediction = msgspec.json.Decoder(_Prediction).decode
_decode_state = msgspec.json.Decoder(_LabelState).decode
_decode_dead = msgspec.json.Decoder(DeadLetter).decode


def run_number(event_id: str, run_prefix: str) -> int:
    """Return the number of an event of the run, or -1 for an event of others.

    >>> run_number("r1-17", "r1-"), run_number("r1-x", "r1-"), run_number("7", "r1-")
    (17, -1, -1)
    """
    number = event_id[len(run_prefix) :] if event_id.startswith(run_prefix) else ""
    return int(number) if number.isascii() and number.isdecimal() else -1


class Tally:
    """Counts what the Kafka topics bring; knows nothing of Kafka but its records."""

    def __init__(self, watch: Watch, arrivals: Arrivals) -> None:
        """Begin at nothing."""
        self._watch = watch
        self._run_prefix = f"{watch.run_id}-"
        self._arrivals = arrivals
        self.arrived_n, self.arrived_at, self.arrived_seq = array("q"), array("d"), array("q")
        self._predicted = bytearray()
        self._predictions = 0
        self._model = _Model("", 0)
        self._state_of: dict[tuple[int, int], State] = {}
        self._states: Counter[str] = Counter()
        self._dead: Counter[str] = Counter()
        self._scored = self._correct = 0
        self._window: deque[bool] = deque(maxlen=WINDOW)
        self._latest: deque[bytes] = deque(maxlen=LATEST)

    def add(self, topic: str, records: list[ConsumerRecord], now: float) -> None:
        """Take in records of one of the `WATCHED` topics that arrived at `now` (epoch seconds)."""
        if topic == Topic.PREDICTIONS:
            for record in records:
                self._add_prediction(record.value, record.partition, now)
            self._latest.extend(record.value for record in records[-LATEST:])
        elif topic == Topic.LABEL_STATES:
            for record in records:
                self._add_state(_decode_state(record.value))
        else:
            for record in records:
                self._add_dead(_decode_dead(record.value))

    def _add_prediction(self, value: bytes, partition: int, now: float) -> None:
        seen = _decode_prediction(value)
        if seen.task != self._watch.task:
            return
        number = run_number(seen.event_id, self._run_prefix)
        self.arrived_n.append(number)
        self.arrived_at.append(now)
        self.arrived_seq.append(seen.model.seq)
        if seen.model.seq >= self._model.seq:
            self._model = seen.model
        if number >= 0:
            if number >= len(self._predicted):
                self._predicted.extend(bytes(number + 100_000 - len(self._predicted)))
            self._predictions += 1 - self._predicted[number]
            self._predicted[number] = 1
            self._arrivals.add(partition, number, seen.predicted_at)

    def _add_state(self, state: _LabelState) -> None:
        if state.event_id is None or run_number(state.event_id, self._run_prefix) < 0:
            return
        key = (state.feedback.at.partition, state.feedback.at.offset)
        before = self._state_of.get(key)
        if before is not None:
            self._states[before] -= 1
        self._state_of[key] = state.state
        self._states[state.state] += 1
        if state.score is not None and state.state != before:
            self._scored += 1
            self._correct += state.score.correct
            self._window.append(state.score.correct)

    def _add_dead(self, letter: DeadLetter) -> None:
        """Count a dead letter if the run's id is in its bytes: a refused record of ours is not waited for."""
        if self._run_prefix.encode() in base64.b64decode(letter.head):
            self._dead[letter.topic] += 1

    def status(self, visible: int, ends: Ends) -> Status:
        """Return the counts so far."""
        latest = [msgspec.json.decode(value, type=Prediction) for value in self._latest]
        return Status(
            ends=ends,
            predictions=self._predictions,
            visible=visible,
            seq=self._model.seq,
            line=self._model.line,
            states={k: v for k, v in self._states.items() if v},
            dead_letters=dict(self._dead),
            accuracy=self._correct / self._scored if self._scored else None,
            accuracy_window=sum(self._window) / len(self._window) if self._window else None,
            latest=[Shown(text=p.text[:200], label=p.label, probability=next(iter(p.proba.values()), 0.0)) for p in latest],
        )


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


def observe(watch: Watch, stop: threading.Event) -> None:
    """Watch until `stop` is set, then write the observations."""
    arrivals = Arrivals()
    tally = Tally(watch, arrivals)
    watcher = RedisWatcher(
        connect_redis(watch.redis), Keys(watch.topic_prefix).predictions_by_time(watch.task), watch.run_id, arrivals, watch.recent
    )
    poller = threading.Thread(target=watcher.watch, args=(stop,), name="redis")
    with closing(open_consumer(watch.kafka)) as consumer:
        ends = _start_at_end(consumer, watch.topic_prefix)
        poller.start()
        told = 0.0
        while not stop.is_set():
            now = time.monotonic()
            if now - told >= STATUS_S:
                told = now
                _print(tally.status(watcher.passed, ends))
            for part, records in consumer.poll(timeout_ms=100).items():
                tally.add(part.topic.removeprefix(watch.topic_prefix), records, time.time())
    poller.join()
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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
