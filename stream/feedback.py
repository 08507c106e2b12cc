"""The operator that reads feedback: valid labels go on to their event, the rest to the dead letters."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pyflink.common import Row
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from online_model.ledger import Incoming
from schemas.parsing import RejectRecord, dead_letter, encode, parse_feedback
from schemas.records import DEFAULT_TASK, FeedbackRef, LabelState, Position, State
from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Rewind, decided
from stream.clock import now_ms
from stream.drill import Drill
from stream.rows import OUT, out

REJECTED = OutputTag("rejected-feedback", OUT)


class _Named(msgspec.Struct):
    """What a rejected record may still tell: whose label it was to be."""

    event_id: str
    task: str = DEFAULT_TASK


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

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[object]:
        """Yield the label as a row `INCOMING`, or rejected records to the side output."""
        self._drill.step()
        data, at = value[0], Position(partition=value[1], offset=value[2], time=value[3])
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
        letter = dead_letter(data, topic=self._feedback_topic, at=at, error=error, now=now)
        yield out(self._dead_letters_topic, f"{at.partition}:{at.offset}", letter)
        named = _name(data)
        state = LabelState(
            event_id=named.event_id if named else None,
            task=self._task_of(named),
            state=State.REJECTED,
            feedback=FeedbackRef(at=at),
            reason=f"{error.reason}: {error.detail}",
            time=now,
        )
        yield out(self._label_states_topic, state.event_id or "", state, task=state.task, label=State.REJECTED)

    def _task_of(self, named: _Named | None) -> str:
        """Return the task to count a rejected label under: the first one if it names none that is configured."""
        return named.task if named and named.task in self._tasks else self._settings.tasks[0]


def _name(data: bytes | None) -> _Named | None:
    try:
        return _named.decode(data or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
