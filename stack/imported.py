"""What becomes of imported labels: their places in the feedback topic, and the state of each."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from schemas.parsing import record_parser
from schemas.records import LabelState, Position, State
from stack.measured_run import PATIENCE_S, Patience
from store.committed import read_committed

PROGRESS_S = 1.0
_ASK_AGAIN_S = 0.3

_NOT_OURS, _SENT = 0, 1
_STATES = tuple(State)
_FIRST_STATE = 2

_parse_state = record_parser(LabelState)


class Imported:
    """Counts of an import, and one byte a record of the feedback topic since it began: not ours, sent, or its state.

    Attributes:
        sent: labels that were given to Kafka.
        unlabelled: rows that have no label.
        skipped: lines and rows that hold nothing usable.
        seq: the highest place in the model log that absorbed one of the labels.
    """

    def __init__(self, ends: Mapping[int, int]) -> None:
        """Begin with the ends of the feedback topic's partitions, before anything was sent."""
        self.sent = self.unlabelled = self.skipped = self.seq = 0
        self._first = dict(ends)
        self._marks = {partition: bytearray() for partition in ends}

    def note_sent(self, partition: int, offset: int) -> None:
        """Note where a label of ours lies."""
        marks = self._marks.setdefault(partition, bytearray())
        place = offset - self._first.setdefault(partition, 0)
        if place >= len(marks):
            marks.extend(bytes(place + 1 - len(marks)))
        marks[place] = _SENT

    def note_state(self, at: Position, state: State, seq: int | None) -> None:
        """Note a state, if the label is ours."""
        marks, place = self._marks.get(at.partition, bytearray()), at.offset - self._first.get(at.partition, 0)
        if 0 <= place < len(marks) and marks[place] != _NOT_OURS:
            marks[place] = _FIRST_STATE + _STATES.index(state)
            self.seq = max(self.seq, seq or 0)

    def counts(self) -> Counter[State]:
        """Return how many labels are in each state that was announced.

        >>> imported = Imported({0: 5})
        >>> imported.note_sent(0, 5), imported.note_sent(0, 7)
        (None, None)
        >>> imported.note_state(Position(partition=0, offset=7), State.TRAINED, 3)
        >>> imported.note_state(Position(partition=0, offset=6), State.TRAINED, 4)
        >>> dict(imported.counts()), imported.seq
        ({<State.TRAINED: 'trained'>: 1}, 3)
        """
        return Counter(
            {
                state: found
                for code, state in enumerate(_STATES, _FIRST_STATE)
                if (found := sum(marks.count(code) for marks in self._marks.values()))
            }
        )

    @property
    def undecided(self) -> int:
        """How many of the labels that were sent are in no final state."""
        return self.sent - sum(found for state, found in self.counts().items() if state is not State.WAITING)

    def left_out(self) -> str:
        """Return in words what was not sent; empty if all was."""
        parts = {"rows without a label": self.unlabelled, "unusable lines": self.skipped}
        return ", ".join(f"{number} {what}" for what, number in parts.items() if number)

    def line(self) -> str:
        """Return how far the import has come."""
        states = ", ".join(f"{found} {state}" for state, found in sorted(self.counts().items()))
        return f"sent {self.sent} labels" + (f" | {states}" if states else "")

    def summary(self, seconds: float, *, waited: bool) -> str:
        """Return the last line: what was sent, what became of it, where the model stands."""
        speed = f"in {seconds:.1f} s, {self.sent / max(seconds, 0.001):,.0f} a second"
        parts = [f"{self.line()} ({speed})"]
        if waited:
            parts.append(f"model at seq {self.seq}" if self.seq else "the model learned nothing new")
        if left_out := self.left_out():
            parts.append(f"left out: {left_out}")
        return "; ".join(parts)


class Progress:
    """Says once a second how far the import has come."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._next = time.monotonic() + PROGRESS_S

    def show(self, imported: Imported) -> None:
        """Write a line if a second has passed."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_S
            self._write(imported.line())


def follow(
    kafka: str,
    topic: str,
    start: Mapping[int, int],
    imported: Imported,
    *,
    stop: threading.Event,
    progress: Progress,
) -> None:
    """Read the committed label states until every label has a final one, none has changed for `PATIENCE_S`, or `stop` is set.

    Args:
        kafka: bootstrap servers.
        topic: the topic of the label states.
        start: partition to offset: where the topic ended before the first label was sent.
        imported: what was sent; takes in the states.
        stop: ends the reading.
        progress: told after each batch.

    Raises:
        KafkaUnavailable: if the topic cannot be read.
    """
    place = dict(start)
    patience = Patience(PATIENCE_S, now=time.monotonic())
    while imported.undecided and not stop.is_set():
        for batch in read_committed(kafka, topic, place):
            for record in batch:
                state = _parse_state(record.value)
                imported.note_state(state.feedback.at, state.state, state.seq)
            place[batch[-1].partition] = batch[-1].offset + 1
            progress.show(imported)
        if patience.exhausted(imported.undecided, now=time.monotonic()):
            return
        if imported.undecided:
            progress.show(imported)
            stop.wait(_ASK_AGAIN_S)
