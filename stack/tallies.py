"""Takes in the committed records of each topic, batch by batch, and keeps what the report needs and no more."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import parse_log_entry, record_parser
from schemas.records import DeadLetter, LabelEntry, LabelState, ModelVersion, Position, Prediction, State
from schemas.topics import Topic
from stack.observe import run_number
from stack.report_metrics import Outcome, Place
from store.keys import NO_LABEL

MINUTE_MS = 60_000
_parse_state = record_parser(LabelState)
_parse_dead = record_parser(DeadLetter)


class _Named(msgspec.Struct):
    event_id: str


class _Counted(msgspec.Struct):
    event_id: str
    task: str
    label: str | None
    predicted_at: int
    model: ModelVersion


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_counted = msgspec.json.Decoder(_Counted).decode


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for what is no JSON, no UTF-8, or nested too deeply."""


class DeadLetters:
    """Dead letters by the place of the record that was refused; one refused again after a restart counts once."""

    def __init__(self, prefix: str) -> None:
        """Take in letters about the topics with this prefix."""
        self._prefix = prefix
        self.places: dict[str, set[Place]] = {Topic.EVENTS: set(), Topic.FEEDBACK: set()}

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `dead-letters`."""
        for record in records:
            letter = _parse_dead(record.value)
            self.places.setdefault(letter.topic.removeprefix(self._prefix), set()).add((letter.partition, letter.offset))


class Events:
    """The run's events: when each was sent, and which were refused."""

    def __init__(self, run_id: str, refused: AbstractSet[Place]) -> None:
        """Begin empty; `refused` are the places of dead letters."""
        self._run_prefix = f"{run_id}-"
        self._refused = refused
        self.sent_ms = array("q")
        self.refused_numbers: set[int] = set()

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `events`."""
        for record in records:
            number = _number(record.value, self._run_prefix)
            if number < 0:
                continue
            if number >= len(self.sent_ms):
                self.sent_ms.extend([0] * (number + 1 - len(self.sent_ms)))
            self.sent_ms[number] = record.timestamp
            if (record.partition, record.offset) in self._refused:
                self.refused_numbers.add(number)


class Predictions:
    """All predictions: counts of each label and minute by Kafka's time, the newest ones, and which events of the run have one."""

    def __init__(self, run_id: str, *, task: str, newest: int) -> None:
        """Begin empty; the `newest` predictions of `task` are kept whole."""
        self._run_prefix = f"{run_id}-"
        self._task = task
        self._newest_kept = newest
        self._heap: list[tuple[int, str, bytes]] = []
        self.per_minute: Counter[tuple[str, str, int]] = Counter()
        self._seen = bytearray()
        self.duplicates = 0
        self.model = ModelVersion(line="base", seq=0)

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `predictions`."""
        for record in records:
            seen = _decode_counted(record.value)
            self.per_minute[seen.task, seen.label or NO_LABEL, record.timestamp - record.timestamp % MINUTE_MS] += 1
            number = run_number(seen.event_id, self._run_prefix)
            if number >= 0:
                self._count(number)
            if seen.task == self._task:
                if seen.model.seq >= self.model.seq:
                    self.model = seen.model
                self._keep((seen.predicted_at, seen.event_id, record.value))

    def _count(self, number: int) -> None:
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        self.duplicates += self._seen[number]
        self._seen[number] = 1

    def _keep(self, row: tuple[int, str, bytes]) -> None:
        if len(self._heap) < self._newest_kept:
            heapq.heappush(self._heap, row)
        elif row > self._heap[0]:
            heapq.heapreplace(self._heap, row)

    def newest(self) -> list[Prediction]:
        """Return the newest predictions of the task, latest first, within a millisecond by id, descending."""
        return [msgspec.json.decode(value, type=Prediction) for _, _, value in sorted(self._heap, reverse=True)]

    def predicted(self) -> set[int]:
        """Return the numbers of the run's events that have a prediction."""
        return {number for number, seen in enumerate(self._seen) if seen}


class Labels:
    """The feedback records of the run with the time of sending, and the last state of every feedback record there is."""

    def __init__(self, run_id: str) -> None:
        """Begin empty."""
        self._run_prefix = f"{run_id}-"
        self.sent_ms: dict[Place, int] = {}
        self.unreadable: set[Place] = set()
        self.last_state: dict[Place, State] = {}
        self.task_of: dict[Place, str | None] = {}

    def add_feedback(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `feedback` from where the run began: those of the run, and those that name no event."""
        for record in records:
            place = (record.partition, record.offset)
            try:
                own = _decode_named(record.value or b"").event_id.startswith(self._run_prefix)
            except _UNREADABLE:
                self.unreadable.add(place)
            else:
                if own:
                    self.sent_ms[place] = record.timestamp

    def add_states(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `label-states` in order."""
        for record in records:
            state = _parse_state(record.value)
            place = _place(state.feedback.at)
            self.last_state[place] = state.state
            self.task_of[place] = state.task


class ModelLog:
    """The label entries of the run in the model log of one task, and the log's end."""

    def __init__(self, run_id: str, task: str) -> None:
        """Begin empty."""
        self._run_prefix = f"{run_id}-"
        self._task = task
        self.outcomes: list[Outcome] = []
        self.seq = 0
        self.gaps: list[str] = []

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `model-log`."""
        for record in records:
            entry = parse_log_entry(record.value)
            if entry.task != self._task:
                continue
            if entry.seq != self.seq + 1 and self.seq:
                self.gaps.append(f"after {self.seq} comes {entry.seq}")
            self.seq = entry.seq
            if isinstance(entry, LabelEntry) and entry.event_id.startswith(self._run_prefix):
                self.outcomes.append(Outcome(entry.seq, entry.label, entry.served.label, _place(entry.feedback.at)))


def _number(value: bytes | None, run_prefix: str) -> int:
    """Return the number of the run's event in the record; -1 for others and for what is no event."""
    try:
        return run_number(_decode_named(value or b"").event_id, run_prefix)
    except _UNREADABLE:
        return -1


def _place(at: Position) -> Place:
    return (at.partition, at.offset)
