"""What became of a task's lines, from its log: which came in, which served when, and which can be gone back to."""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

import msgspec

from online_model.lines import FIRST_LINE, Lines
from online_model.models import build
from schemas.log import AnyChange, Origin, RefusalEntry, ReleaseEntry, RollbackEntry
from schemas.records import EpochMs
from store.log_reader import ModelLogReader

LineState = Literal["serves", "shadow", "split", "former", "gone"]


class KnownLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that came in at some time.

    Attributes:
        line: its name.
        origin: what it began with.
        state: whether it serves, what it is watched for, or `gone`.
        since_seq: the entry by which it came to that state, 0 for none.
        since: the time of that entry, epoch ms, 0 for none.
        first_seq: the entry by which it first came in, 0 for the first line.
    """

    line: str
    origin: Origin
    state: LineState
    since_seq: int
    since: EpochMs
    first_seq: int


class Reign(msgspec.Struct, frozen=True, kw_only=True):
    """A line serves from an entry of the log on, until the next reign."""

    line: str
    seq: int
    time: EpochMs


class ModelHistory:
    """The changes of what one task serves, read from the log as far as it goes; memory grows with the changes, not with the labels.

    Attributes:
        task: the task.
        changes: the changes and refusals, in order.
        reigns: which line served from when on.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self.changes: list[AnyChange] = []
        self.reigns = [Reign(line=FIRST_LINE, seq=0, time=0)]
        self._known = {FIRST_LINE: KnownLine(line=FIRST_LINE, origin=Origin(), state="serves", since_seq=0, since=0, first_seq=0)}
        # The same code as in every replica says who serves and who is watched; none of its models is ever taught.
        self._lines = Lines(build("softmax?memory_mib=1"))
        self._offset = 0

    @classmethod
    def read(cls, reader: ModelLogReader, task: str) -> ModelHistory:
        """Return the history of a task, to the log's end as it is now.

        Raises:
            KafkaUnavailable: if the log cannot be read.
            ModelUnavailable: if it holds something unreadable.
        """
        history = cls(task)
        history.update(reader)
        return history

    def update(self, reader: ModelLogReader) -> list[AnyChange]:
        """Read on from where the history stands, and return what is new; raises as `read` does."""
        self._offset, new = reader.changes(self.task, start=self._offset)
        for change in new:
            self.add(change)
        return new

    def add(self, change: AnyChange) -> None:
        """Add the next change."""
        self.changes.append(change)
        if isinstance(change, RefusalEntry):
            return
        if change.line not in self._known:
            origin = change.origin if isinstance(change, ReleaseEntry | RollbackEntry) else Origin()
            self._known[change.line] = KnownLine(line=change.line, origin=origin, state="gone", since_seq=0, since=0, first_seq=change.seq)
        self._lines.change(change, None)
        if self._lines.champion != self.reigns[-1].line:
            self.reigns.append(Reign(line=self._lines.champion, seq=change.seq, time=change.time))
        for name, known in self._known.items():
            state = self._state(name)
            if state != known.state:
                self._known[name] = msgspec.structs.replace(known, state=state, since_seq=change.seq, since=change.time)

    def _state(self, line: str) -> LineState:
        return "serves" if line == self._lines.champion else self._lines.roles.get(line, "gone")

    @property
    def champion(self) -> str:
        """The line that serves."""
        return self._lines.champion

    def lines(self) -> list[KnownLine]:
        """Return every line that ever came in, in that order."""
        return list(self._known.values())

    def line(self, name: str) -> KnownLine | None:
        """Return what is known of a line, None if it never came in."""
        return self._known.get(name)

    def champion_at(self, seq: int) -> str:
        """Return the line that served after entry `seq`."""
        return self.reigns[bisect_right([reign.seq for reign in self.reigns], seq) - 1].line

    def champion_at_time(self, time: int) -> str:
        """Return the line that served at a time (epoch ms), by the learner's clock."""
        found = FIRST_LINE
        for reign in self.reigns:
            if reign.time <= time:
                found = reign.line
        return found

    def answer_to(self, command_id: str) -> AnyChange | None:
        """Return the entry by which a command was answered, None if it was not; the first, if the same one came twice."""
        return next((change for change in self.changes if change.command_id == command_id), None)
