"""Who serves and who is watched, from the changes in the model log: now, at some time, and how it came to that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from schemas.log import AnyChange, DropEntry, Origin, PromoteEntry, RefusalEntry, ReleaseEntry, RollbackEntry
from schemas.records import Role

FIRST_LINE = "base"
Place = Literal["serving", "shadow", "split", "former", "gone", "stored"]
"""Where a line is: it serves, is watched in a role, is held no more, or lies in storage and was never brought in."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line that the log names: where it is, since which entry and time (epoch ms), and what it began with."""

    name: str
    place: Place
    since_seq: int
    since: int | None
    origin: Origin
    share: float | None = None
    last: AnyChange | None = None


class Standing:
    """The lines of a task after some changes.

    Attributes:
        serving: the line that serves.
        lines: all lines that the log has named, by name; those that are held no more as well.
    """

    def __init__(self) -> None:
        self.serving = FIRST_LINE
        self.lines = {FIRST_LINE: Line(name=FIRST_LINE, place="serving", since_seq=0, since=None, origin=Origin())}

    @classmethod
    def after(cls, changes: Iterable[AnyChange]) -> Standing:
        """Return the standing after these changes, in the order of the log."""
        standing = cls()
        for change in changes:
            standing.apply(change)
        return standing

    def apply(self, change: AnyChange) -> None:
        """Take in the next change; the rules are those by which a replica holds lines (`online_model.lines`)."""
        match change:
            case ReleaseEntry(mode="serve") | PromoteEntry() if change.line != self.serving:
                for former in self._at("former"):
                    self._put(former, "gone", change)
                self._put(self.serving, "former", change)
                self._serve(change)
            case ReleaseEntry(mode="shadow" | "split") if change.line != self.serving:
                self._put(change.line, "split" if change.mode == "split" else "shadow", change, share=change.share, origin=change.origin)
            case RollbackEntry() if change.line != self.serving:
                self._put(self.serving, "gone", change)
                self._serve(change)
            case DropEntry() if change.line != self.serving:
                self._put(change.line, "gone", change)

    def _serve(self, change: ReleaseEntry | PromoteEntry | RollbackEntry) -> None:
        origin = None if isinstance(change, PromoteEntry) else change.origin
        self._put(change.line, "serving", change, origin=origin)
        self.serving = change.line

    def _put(self, name: str, place: Place, change: AnyChange, *, share: float | None = None, origin: Origin | None = None) -> None:
        known = self.lines.get(name)
        began = origin or (known.origin if known else Origin())
        self.lines[name] = Line(name=name, place=place, since_seq=change.seq, since=change.time, origin=began, share=share, last=change)

    def _at(self, place: Place) -> list[str]:
        return [line.name for line in self.lines.values() if line.place == place]

    @property
    def watched(self) -> dict[str, Role]:
        """The roles of the lines that are watched."""
        return {line.name: line.place for line in self.lines.values() if line.place in ("shadow", "split", "former")}


def until(changes: Sequence[AnyChange], time: int) -> Sequence[AnyChange]:
    """Return the changes up to a time (epoch ms): those up to the last one that is not later.

    >>> until([], 5)
    []
    """
    last = next((index for index in range(len(changes) - 1, -1, -1) if changes[index].time <= time), -1)
    return changes[: last + 1]


def about(changes: Iterable[AnyChange], line: str) -> list[AnyChange]:
    """Return the changes that a line had a part in: it came, went, was refused, or was replaced."""
    return [c for c in changes if line == c.line or (isinstance(c, PromoteEntry | RollbackEntry) and c.replaces == line)]


def what(change: AnyChange) -> str:
    """Say in a few words what a change did."""
    match change:
        case ReleaseEntry(mode="serve"):
            return f"{change.line} released, serves"
        case ReleaseEntry(mode="split"):
            return f"{change.line} serves {change.share:.1%} of the events" if change.share else f"{change.line} split"
        case ReleaseEntry():
            return f"{change.line} watched as a shadow"
        case PromoteEntry():
            return f"{change.line} promoted, replaces {change.replaces}"
        case RollbackEntry():
            return f"rolled back to {change.line} from {change.replaces}"
        case DropEntry():
            return f"{change.line} dropped"
        case RefusalEntry():
            return f"{change.do} of {change.line or 'the former line'} refused"
