"""What changes the lines of one task: trials that are decided, and commands, one after the other, each when its line is built."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from online_model.changes import entry_for, entry_of, needs_model, objection, refusal, repair, target_of
from online_model.models import TextModel
from online_model.replica import Replica
from online_model.trials import TrialRules, decide
from schemas.log import AnyLogEntry, Command, Origin
from schemas.settings import Settings
from store.building import Building
from store.connect import KafkaUnavailable
from store.lines import LineModel
from stream.commands import Asked

BuildLine = Callable[[Settings, str, str, Origin, int, threading.Event], TextModel]
"""Returns the model of a line of a task, given both names and the line's origin, as it is after a certain entry; that one may not be
committed yet, and is waited for until the event is set. What is wrong with the line, it raises."""


MOST_WAITING = 100
"""Commands of a task that wait: they are in the state, and each may take as long as it takes to learn the log."""


class Change(NamedTuple):
    """An entry of the log, and the model of a line that it brings in."""

    entry: AnyLogEntry
    brought: TextModel | None = None


class Changes:
    """Finds the changes of one task that are due.

    Args:
        settings: of the jobs.
        asked: the commands that wait already.
        build: makes the model of a line.

    Attributes:
        asked: the commands that wait, in their order; the first one is worked on, and only what needs no building overtakes it.
    """

    def __init__(self, settings: Settings, asked: Iterable[Asked], build: BuildLine) -> None:
        self.asked = list(asked)
        self._settings = settings
        self._rules = TrialRules.configured(settings)
        self._build = build
        self._building: Building[LineModel] | None = None
        self._stopped: list[Building[LineModel]] = []

    def ask(self, replica: Replica, asked: Asked, now: int) -> Change | None:
        """Let a command wait for its turn; if too many do, return its refusal."""
        if len(self.asked) >= MOST_WAITING:
            return Change(refusal(replica, asked.command, f"{MOST_WAITING} commands wait already", now))
        self.asked.append(asked)
        return None

    def learned(self, entry: AnyLogEntry) -> None:
        """Take an entry that the replica has applied: a line that is being built must learn it as well."""
        if self._building is not None:
            self._building.add(entry)

    def due(self, replica: Replica, now: int) -> Change | None:
        """Return the change that comes next, None if there is none yet; the caller applies it before it asks again.

        An answered command leaves `asked`. One whose line must be built is answered when that has caught up with the replica.
        """
        if (entry := repair(replica, now)) is not None:
            return Change(entry)
        for trial in replica.trials():
            if (decision := decide(trial, self._rules)) is not None:
                return Change(entry_of(replica, decision, now))
        if not self.asked:
            return None
        change = self._answer(replica, self.asked[0].command, now)
        if change is None:
            return self._overtaking(replica, now)
        self._stop()
        self.asked.pop(0)
        return change

    def _overtaking(self, replica: Replica, now: int) -> Change | None:
        """Answer a command that can be done at once while the first one's line is built, if no earlier one is about the same line.

        A rollback in need must not wait until a log has been learned.
        """
        earlier = set[str | None]()
        for place, asked in enumerate(self.asked):
            command, line = asked.command, target_of(replica, asked.command)
            if line not in earlier and objection(replica, command) is None and not needs_model(replica, command):
                self.asked.pop(place)
                return Change(entry_for(replica, command, now))
            earlier.add(line)
        return None

    def close(self) -> None:
        """End what is being built, and wait for it."""
        self._stop()
        for building in self._stopped:
            building.close()

    def _stop(self) -> None:
        """Let what is being built end, without waiting."""
        if self._building is not None:
            self._building.stop()
            self._stopped = [*(stopped for stopped in self._stopped if stopped.alive), self._building]
            self._building = None

    def _answer(self, replica: Replica, command: Command, now: int) -> Change | None:
        if objection(replica, command) is not None or command.origin is None or not needs_model(replica, command):
            return Change(entry_for(replica, command, now))
        if self._building is None:
            self._building = self._begin(replica, target_of(replica, command) or "", command.origin)
        try:
            line = self._building.take()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the line, the one that serves goes on
            return Change(refusal(replica, command, f"{type(error).__name__}: {error}", now))
        return None if line is None else Change(entry_for(replica, command, now), line.model)

    def _begin(self, replica: Replica, line: str, origin: Origin) -> Building[LineModel]:
        closed = threading.Event()

        def build() -> LineModel:
            seq = replica.seq
            return LineModel(replica.task, seq, self._build(self._settings, replica.task, line, origin, seq, closed))

        return Building(f"line of task {replica.task}", build, LineModel.apply, closed=closed, retry=(KafkaUnavailable,))
