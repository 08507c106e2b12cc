"""Counts what the Kafka topics bring to an observer."""

from __future__ import annotations

import base64
from array import array
from collections import Counter, deque
from collections.abc import Mapping

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.records import DeadLetter, Position, Prediction, State
from schemas.topics import Topic
from stack.observe_redis import Arrivals
from stack.watch import Shown, Status, Watch, run_number
from store.committed import Ends

WINDOW = 1000
LATEST = 8


class Places:
    """Different places of records, in a byte each: from the first offset on, the offsets of a partition have no large gaps.

    >>> places = Places({0: 100})
    >>> places.add(0, 100), places.add(0, 105), places.add(0, 100), places.count
    (True, True, False, 2)
    """

    def __init__(self, first: Mapping[int, int]) -> None:
        """Begin empty; `first` is the offset from which a partition's places may come, 0 if it is not named."""
        self._first = first
        self._seen: dict[int, bytearray] = {}
        self.count = 0

    def add(self, partition: int, offset: int) -> bool:
        """Take in a place and say whether it is new."""
        seen = self._seen.setdefault(partition, bytearray())
        at = offset - self._first.get(partition, 0)
        if at >= len(seen):
            seen.extend(bytes(at + 100_000 - len(seen)))
        new = not seen[at]
        seen[at] = 1
        self.count += new
        return new


class _Model(msgspec.Struct):
    line: str
    seq: int


class _Prediction(msgspec.Struct):
    """The few fields of a prediction that are needed of every one."""

    event_id: str
    task: str
    predicted_at: int
    model: _Model
    source: Position


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


class Tally:
    """Counts what the Kafka topics bring; knows nothing of Kafka but its records."""

    def __init__(self, watch: Watch, arrivals: Arrivals, ends: Ends) -> None:
        """Begin at nothing; `ends` is where the topics ended then."""
        self._watch = watch
        self._ends = ends
        self._records = Places(ends.get(Topic.EVENTS, {}))
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
            self._records.add(seen.source.partition, seen.source.offset)
            if not self._predicted[number]:
                self._predicted[number] = 1
                self._predictions += 1
                # Redis shows the first prediction of an event: of a second one nothing can be seen there.
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

    def status(self, visible: int, away: list[str]) -> Status:
        """Return the counts so far."""
        latest = [msgspec.json.decode(value, type=Prediction) for value in self._latest]
        return Status(
            ends=self._ends,
            predictions=self._predictions,
            records=self._records.count,
            visible=visible,
            seq=self._model.seq,
            line=self._model.line,
            states={k: v for k, v in self._states.items() if v},
            dead_letters=dict(self._dead),
            accuracy=self._correct / self._scored if self._scored else None,
            accuracy_window=sum(self._window) / len(self._window) if self._window else None,
            away=away,
            latest=[Shown(text=p.text[:200], label=p.label, probability=next(iter(p.proba.values()), 0.0)) for p in latest],
        )
