"""The operator that reads commands: valid ones go on to the learner of their task, the rest to the dead letters."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pyflink.common import Row
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext

from schemas.log import Command
from schemas.parsing import RejectRecord, dead_letter, encode, parse_command
from schemas.records import Position
from schemas.settings import Settings
from schemas.topics import Topic
from store.rewind import Place, Rewind, refused_in
from stream.clock import now_ms
from stream.frames import SOURCE
from stream.rows import OUT, out, place

REJECTED = OutputTag("rejected-commands", OUT)


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="command"):
    """A valid command and where it lies in its topic: its place is its identity, since a sender may use an id twice."""

    command: Command
    at: Position


class ReadCommands(ProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Parses records of `model-commands`; a rejected one gives a dead letter."""

    def __init__(self, settings: Settings, rewind: Rewind | None = None) -> None:
        self._settings = settings
        self._rewind = rewind

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare names."""
        prefix = self._settings.topic_prefix
        self._commands_topic = prefix + Topic.MODEL_COMMANDS
        self._dead_letters_topic = prefix + Topic.DEAD_LETTERS
        self._tasks = frozenset(self._settings.tasks)
        self._refused: set[Place] = refused_in(self._settings, self._rewind, Topic.MODEL_COMMANDS) if self._rewind else set()

    def process_element(self, value: bytes, ctx: ProcessFunction.Context) -> Iterator[object]:
        """Yield the commands in a frame of records as rows `DECISION`, or dead letters to the side output."""
        for data, partition, offset, time in SOURCE.rows(value):
            yield from self._read(data, place(partition, offset, time, now=now_ms()))

    def _read(self, data: bytes | None, at: Position) -> Iterator[object]:
        try:
            command = parse_command(data, tasks=self._tasks)
        except RejectRecord as error:
            if (at.partition, at.offset) not in self._refused:
                letter = dead_letter(data, topic=self._commands_topic, at=at, error=error, now=now_ms())
                yield REJECTED, out(self._dead_letters_topic, f"{at.partition}:{at.offset}", letter)
            return
        yield Row(command.task, encode(Asked(command=command, at=at)))
