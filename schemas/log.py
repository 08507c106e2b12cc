"""The entries of the model log. The model at seq n is a function of its task's entries up to n, and of nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from schemas.records import EpochMs, FeedbackRef, Meta, Record, Served

LineName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}\\Z")]
"""A line is a base model and what was learned on it. The first, `base`, began empty; every release begins one."""

Mode = Literal["serve", "shadow", "split"]
"""What a line is brought in for: to serve, to be watched beside the serving one, or to serve a share of the events."""

Share = Annotated[float, msgspec.Meta(ge=0.001, le=0.999)]


Metrics = dict[str, float]


class LogEntry(Record, frozen=True, kw_only=True, tag_field="kind"):
    """An entry of the model log. Topic `model-log`, key `task`; `seq` counts 1, 2, 3 … in each task without a gap."""

    seq: int
    task: str
    time: EpochMs


class LabelEntry(LogEntry, frozen=True, kw_only=True, tag="label"):
    """A label to learn, with the text and the prediction that was served for it.

    `served` is null if nobody had asked the model (a self-contained label): such an entry teaches, and scores nothing.
    `corrects` is the label that was learned for this event before, if any, and `marked` whether a verdict `wrong` has scored the
    prediction: such an entry scores nothing either, since an event is scored once, by its first label or verdict, or not at all.
    """

    event_id: str
    text: str
    meta: Meta
    label: str
    weight: float
    served: Served | None = None
    feedback: FeedbackRef
    corrects: str | None = None
    marked: bool = False


class VerdictEntry(LogEntry, frozen=True, kw_only=True, tag="verdict"):
    """The prediction that was served for an event was wrong, someone says: it is scored as an error. Teaches no model.

    Only what scores is in the log: of an event that a label has scored, or that was marked before, there is no such entry.
    """

    event_id: str
    weight: float
    served: Served
    feedback: FeedbackRef


class SnapshotEntry(LogEntry, frozen=True, kw_only=True, tag="snapshot"):
    """Announces a snapshot of the replica as it was after entry `at_seq`, when `line` was served. Changes no model."""

    at_seq: int
    line: str
    address: str
    sha256: str
    size_bytes: int


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A stored model: its address in artifact storage, its SHA-256 in hexadecimal, and its size."""

    address: str
    sha256: str
    size_bytes: int


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a line began with: the artifact, which holds the model as it was after entry `cut_seq`.

    The line's model at seq n is that model after the labels of the entries from `cut_seq` + 1 to n. Without an artifact it began
    empty, at 0.
    """

    artifact: Artifact | None = None
    cut_seq: int = 0


class ChangeEntry(LogEntry, frozen=True, kw_only=True):
    """A change of what is served or watched: which line, who wanted it, and why.

    `metrics` is what it was decided by; `data` the fingerprint of what the line was trained on; `command_id` the command that
    asked for it, null where the learner decided by itself.
    """

    line: str
    by: str
    why: str
    command_id: str | None = None
    metrics: Metrics = msgspec.field(default_factory=dict)
    data: str | None = None


class ReleaseEntry(ChangeEntry, frozen=True, kw_only=True, tag="release"):
    """A line is brought in, to serve from here on or to be watched; `share` of the events is served by it in mode `split`."""

    origin: Origin
    mode: Mode = "serve"
    share: Share | None = None


class PromoteEntry(ChangeEntry, frozen=True, kw_only=True, tag="promote"):
    """A line that was watched serves from here on; `replaces` is the one that served."""

    replaces: str


class RollbackEntry(ChangeEntry, frozen=True, kw_only=True, tag="rollback"):
    """An earlier line serves again from here on; `replaces`, which served, is held no more."""

    origin: Origin
    replaces: str


class DropEntry(ChangeEntry, frozen=True, kw_only=True, tag="drop"):
    """A line that was watched is held no more."""


class RefusalEntry(ChangeEntry, frozen=True, kw_only=True, tag="refusal"):
    """A command was refused; `why` says the reason. Changes no model."""

    do: str


AnyChange = ReleaseEntry | PromoteEntry | RollbackEntry | DropEntry | RefusalEntry
AnyLogEntry = LabelEntry | VerdictEntry | SnapshotEntry | AnyChange


class Command(Record, frozen=True, kw_only=True):
    """Asks for a change of what is served. Topic `model-commands`, key `task`; the learner answers it with an entry of the model log.

    `serve` makes `line` the one that serves, at once; `shadow` and `split` bring it in to be watched; `rollback` goes back to
    `line`, or to the one that served before; `drop` ends the watch of `line`. A line that is not held is made from `origin`.
    With `against` the command is refused as stale if another line serves by then.
    """

    command_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    task: str
    do: Literal["serve", "shadow", "split", "rollback", "drop"]
    line: LineName | None = None
    by: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    why: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    origin: Origin | None = None
    share: Share | None = None
    against: LineName | None = None
    metrics: Metrics = msgspec.field(default_factory=dict)
    data: str | None = None
