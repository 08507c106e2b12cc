"""The operator that reads feedback: valid labels go on to their event, the rest to the dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.common import Row
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from online_model.ledger import Incoming
from schemas.parsing import RejectRecord, dead_letter, encode, parse_feedback
from schemas.records import DEFAULT_TASK, FeedbackRef, Id, LabelState, Position, State, TaskName
from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Rewind, decided
from stream.clock import now_ms
from stream.drill import Drill
from stream.frames import SOURCE
from stream.measured import Measured
from stream.rows import OUT, out, place

REJECTED = OutputTag("rejected-feedback", OUT)


class _Named(msgspec.Struct):
    """What a rejected record may still tell: whose label it was to be. Any value, for what is wrong may be this."""

    event_id: Any = None
    task: Any = DEFAULT_TASK


_named = msgspec.json.Decoder(_Named)


class ReadFeedback(ProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Parses records of `feedback`; a rejected one gives a dead letter and a label state."""

    def __init__(self, settings: Settings, rewind: Rewind | None = None) -> None:
        self._settings = settings
        self._rewind = rewind

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare names."""
        prefix = self._settings.topic_prefix
        self._feedback_topic = prefix + Topic.FEEDBACK
        self._dead_letters_topic = prefix + Topic.DEAD_LETTERS
        self._label_states_topic = prefix + Topic.LABEL_STATES
        self._tasks = frozenset(self._settings.tasks)
        self._max_text_bytes = self._settings.max_text_bytes
        self._drill = Drill(self._settings.drill_folder, "learn")
        self._decided = decided(self._settings, self._rewind) if self._rewind else {}
        self._measured = Measured(runtime_context)

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator[object]:
        """Yield the labels in a frame of records of `feedback` as rows `INCOMING`, or rejected ones to the side output."""
        for data, partition, offset, time in SOURCE.rows(value):
            self._drill.step()
            yield from self._read(data, place(partition, offset, time, now=now_ms()))

    def _read(self, data: bytes | None, at: Position) -> Iterator[object]:
        try:
            feedback = parse_feedback(data, tasks=self._tasks, max_text_bytes=self._max_text_bytes)
        except RejectRecord as error:
            if (at.partition, at.offset) in self._decided:
                return
            yield from ((REJECTED, row) for row in self._rejected(data, at, error))
            return
        yield Row(feedback.task, feedback.event_id, encode(Incoming(feedback=feedback, at=at)))

    def _rejected(self, data: bytes | None, at: Position, error: RejectRecord) -> Iterator[Row]:
        now = now_ms()
        self._measured.count("millrace_dead_letters", reason=error.reason)
        letter = dead_letter(data, topic=self._feedback_topic, at=at, error=error, now=now)
        yield out(self._dead_letters_topic, f"{at.partition}:{at.offset}", letter)
        event_id, task = named(data)
        state = LabelState(
            event_id=event_id,
            # One that names no configured task counts under the first.
            task=task if task in self._tasks else self._settings.tasks[0],
            state=State.REJECTED,
            feedback=FeedbackRef(at=at),
            reason=f"{error.reason}: {error.detail}",
            time=now,
        )
        yield out(self._label_states_topic, state.event_id or "", state, task=state.task, label=State.REJECTED)


def named(data: bytes | None) -> tuple[str | None, str | None]:
    """Return the event id and the task that a rejected record names, each None if there is none that could be one."""
    try:
        found = _named.decode(data or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    return _valid(found.event_id, Id), _valid(found.task, TaskName)


def _valid(value: object, kind: Any) -> str | None:
    """Return the value if it keeps the rules: one of 8 MiB, or one that Flink's bridge cannot carry, would stop the job."""
    try:
        valid: str = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
    return valid
