"""Takes in the committed records of each topic, batch by batch, and keeps what the report needs and no more."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.log import LabelEntry, VerdictEntry
from schemas.parsing import parse_log_entry, record_parser
from schemas.records import DeadLetter, LabelState, ModelVersion, Position, Served, State, Verdict
from schemas.topics import Topic
from stack.label_reference import Found, LabelRecord, Place
from stack.newest_predictions import NewestPredictions
from stack.report_metrics import Outcome
from stack.watch import run_number
from store.keys import NO_LABEL

MINUTE_MS = 60_000
_OFFSET_BITS = 44
_parse_state = record_parser(LabelState)
_parse_dead = record_parser(DeadLetter)


class _Named(msgspec.Struct):
    event_id: str
    label: object = None
    verdict: object = None
    feedback_id: object = None


class _Counted(msgspec.Struct):
    event_id: str
    task: str
    text: str
    label: str | None
    predicted_at: int
    model: ModelVersion
    source: Position


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
    """The run's event records: where each lies, which event it is, and when the first of each event was sent."""

    def __init__(self, run_id: str, refused: AbstractSet[Place]) -> None:
        """Begin empty; `refused` are the places of dead letters."""
        self._run_prefix = f"{run_id}-"
        self._refused = refused
        self.sent_ms = array("q")
        self.places, self.numbers, self.refused = array("q"), array("q"), array("b")

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `events`."""
        for record in records:
            named = _named(record.value)
            number = run_number(named.event_id, self._run_prefix) if named else -1
            if number < 0:
                continue
            if number >= len(self.sent_ms):
                self.sent_ms.extend([0] * (number + 1 - len(self.sent_ms)))
            # Records of one event lie in one partition, in the order in which they were sent.
            self.sent_ms[number] = self.sent_ms[number] or record.timestamp
            self.places.append(_as_number(record.partition, record.offset))
            self.numbers.append(number)
            self.refused.append((record.partition, record.offset) in self._refused)


class Predictions:
    """All predictions: counts of each label and minute by Kafka's time, the newest ones, and those of the run's event records."""

    def __init__(self, run_id: str, *, task: str, newest: int, recent: int) -> None:
        """Begin empty; the `newest` predictions of `task` are kept whole, of which Redis keeps the `recent` ones."""
        self._run_prefix = f"{run_id}-"
        self._task = task
        self.newest = NewestPredictions(newest=newest, recent=recent)
        self.per_minute: Counter[tuple[str, str, int]] = Counter()
        self.sources, self.numbers = array("q"), array("q")
        self.first_at, self.first_print, self.first_label = array("q"), array("q"), array("q")
        self._labels: dict[str | None, int] = {None: 0}
        self.model = ModelVersion(line="base", seq=0)

    def add(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `predictions`."""
        for record in records:
            seen = _decode_counted(record.value)
            self.per_minute[seen.task, seen.label or NO_LABEL, record.timestamp - record.timestamp % MINUTE_MS] += 1
            number = run_number(seen.event_id, self._run_prefix)
            if number >= 0:
                self._count(number, seen)
            if seen.task == self._task:
                if seen.model.seq >= self.model.seq:
                    self.model = seen.model
                self.newest.add(seen.event_id, seen.predicted_at, record.value)

    def _count(self, number: int, seen: _Counted) -> None:
        self.sources.append(_as_number(seen.source.partition, seen.source.offset))
        self.numbers.append(number)
        if number >= len(self.first_at):
            more = [0] * (number + 1 - len(self.first_at))
            self.first_at.extend(more)
            self.first_print.extend(more)
            self.first_label.extend(more)
        if not self.first_at[number]:
            self.first_at[number] = seen.predicted_at
            self.first_print[number] = fingerprint(seen.text, seen.label, seen.model)
            self.first_label[number] = self._labels.setdefault(seen.label, len(self._labels))

    def predicted_at(self, number: int) -> int | None:
        """Return the time of the first prediction of an event of the run, epoch ms, or None if it has none."""
        return self.first_at[number] or None if number < len(self.first_at) else None

    def served(self) -> Callable[[int], str | None]:
        """Return a function from the number of an event of the run to the label of its first prediction, None if it has none."""
        names = list(self._labels)
        return lambda number: names[self.first_label[number]] if number < len(self.first_label) else None


class Labels:
    """The feedback records of the run, and the last state of every feedback record there is."""

    def __init__(self, run_id: str, refused: AbstractSet[Place]) -> None:
        """Begin empty; `refused` are the places of dead letters."""
        self._run_prefix = f"{run_id}-"
        self._refused = refused
        self.records: dict[Place, LabelRecord] = {}
        self.unreadable: set[Place] = set()
        self.found: dict[Place, Found] = {}
        self.task_of: dict[Place, str | None] = {}
        self.changed: dict[Place, str] = {}

    def add_feedback(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `feedback` from where the run began: those of the run, and those that name no event."""
        for record in records:
            place = (record.partition, record.offset)
            named = _named(record.value)
            if named is None:
                self.unreadable.add(place)
            elif (number := run_number(named.event_id, self._run_prefix)) >= 0:
                label = named.label if isinstance(named.label, str) else None
                message = named.feedback_id if isinstance(named.feedback_id, str) else None
                refused = place in self._refused
                verdict: Verdict | None = None if refused or label else "right" if named.verdict == "right" else "wrong"
                self.records[place] = LabelRecord(place, number, label, record.timestamp, refused, message, verdict)

    def add_states(self, records: Iterable[ConsumerRecord]) -> None:
        """Take in records of `label-states` in order; a state that comes after a final one is noted."""
        for record in records:
            state = _parse_state(record.value)
            place = _place(state.feedback.at)
            before = self.found.get(place)
            if before and before.state is not State.WAITING:
                self.changed[place] = f"{state.state} after {before.state}"
            self.found[place] = Found(state.state, state.time, state.seq)
            self.task_of[place] = state.task


class ModelLog:
    """The entries of labels and verdicts of the run in the model log of one task, and the log's end."""

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
            # An entry without a served prediction is a self-contained label of someone else: a run sends none.
            if not isinstance(entry, LabelEntry | VerdictEntry) or entry.served is None:
                continue
            if (number := run_number(entry.event_id, self._run_prefix)) >= 0:
                self.outcomes.append(_outcome(entry, entry.served, number))


def _outcome(entry: LabelEntry | VerdictEntry, served: Served, number: int) -> Outcome:
    if isinstance(entry, VerdictEntry):
        return Outcome(seq=entry.seq, label=None, served=served.label, place=_place(entry.feedback.at), event=number)
    return Outcome(
        seq=entry.seq,
        label=entry.label,
        served=served.label,
        place=_place(entry.feedback.at),
        event=number,
        corrects=entry.corrects,
        marked=entry.marked,
        fingerprint=fingerprint(entry.text, served.label, served.model),
    )


def fingerprint(text: str, label: str | None, model: ModelVersion) -> int:
    """Return a number by which two predictions are told apart, within this process."""
    return hash((text, label, model.line, model.seq))


def _named(value: bytes | None) -> _Named | None:
    try:
        return _decode_named(value or b"")
    except _UNREADABLE:
        return None


def _place(at: Position) -> Place:
    return (at.partition, at.offset)


def _as_number(partition: int, offset: int) -> int:
    return partition << _OFFSET_BITS | offset
