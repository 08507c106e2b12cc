"""What the API answers about models, as types. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.log import Metrics, Origin
from schemas.manifest import Manifest
from schemas.records import Trial


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what is served or watched: who, when, why, by which figures, and from which data."""

    seq: int
    time: int
    kind: str
    line: str
    what: str
    by: str
    why: str
    command_id: str | None
    metrics: Metrics
    data: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line: where it is, since when, and how it compares with the one that serves."""

    line: str
    place: str
    since: int | None
    since_seq: int | None
    share: float | None
    origin: Origin
    trial: Trial | None
    last_change: Change | None
    created_at: int | None
    candidate: str | None
    passed: bool | None


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a task: the one that serves first."""

    task: str
    seq: int
    serving: str
    lines: list[Line]


class LineDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a line."""

    task: str
    line: Line
    manifest: Manifest | None
    history: list[Change]


class ModelAt(msgspec.Struct, frozen=True, kw_only=True):
    """Which line was live at a time."""

    task: str
    time: int
    line: str
    since: int | None
    since_seq: int
    change: Change | None
    watched: dict[str, str]


class ModelHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Changes, and commands that were refused, newest first."""

    task: str
    changes: list[Change]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command, and the learner's answer to it."""

    command_id: str
    state: Literal["waiting", "done", "refused"]
    answer: Change | None
    location: str
