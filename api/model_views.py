"""What the API answers about models: lines, changes, commands. Times are epoch milliseconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from schemas.log import AnyChange, Metrics, Origin, RefusalEntry
from schemas.manifest import Manifest
from schemas.records import Trial
from store.model_feed import TaskLog
from store.standing import Line, Place, Standing, about, until, what


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what is served or watched, as the model log has it: who, when, why, by which figures, and from which data."""

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


class LineView(msgspec.Struct, frozen=True, kw_only=True):
    """A line: where it is (serving; watched as shadow, split or former; gone; stored, if it was never brought in), and since when.

    `trial` compares a watched line with the one that serves; it is null for others, and while it is not known. `created_at`,
    `candidate` and `passed` (what the gate said) are those of its manifest.
    """

    line: str
    place: Place
    since: int | None
    since_seq: int | None
    share: float | None
    origin: Origin
    trial: Trial | None
    last_change: ChangeView | None
    created_at: int | None
    candidate: str | None
    passed: bool | None


class ModelsView(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a task: the one that serves first, then the watched ones, then the others, newest first."""

    task: str
    seq: int
    serving: str
    lines: list[LineView]


class LineDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a line: its manifest, if a refresh made it, and every change that it had a part in, oldest first."""

    task: str
    line: LineView
    manifest: Manifest | None
    history: list[ChangeView]


class ModelAtView(msgspec.Struct, frozen=True, kw_only=True):
    """Which line was live at a time, since when, and the change that had made it so (null: it was the first)."""

    task: str
    time: int
    line: str
    since: int | None
    since_seq: int
    change: ChangeView | None
    watched: dict[str, str]


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """Changes, and commands that were refused, newest first."""

    task: str
    changes: list[ChangeView]


class CommandView(msgspec.Struct, frozen=True, kw_only=True):
    """A command: whether the learner has answered it, and the entry of the model log that did; `location` is where to ask again."""

    command_id: str
    state: Literal["waiting", "done", "refused"]
    answer: ChangeView | None
    location: str


def change_view(change: AnyChange) -> ChangeView:
    """Return a change as it is shown."""
    kind = type(change).__struct_config__.tag
    return ChangeView(
        seq=change.seq,
        time=change.time,
        kind=str(kind),
        line=change.line,
        what=what(change),
        by=change.by,
        why=change.why,
        command_id=change.command_id,
        metrics=change.metrics,
        data=change.data,
    )


def line_view(line: Line, manifest: Manifest | None, trial: Trial | None) -> LineView:
    """Return a line as it is shown."""
    return LineView(
        line=line.name,
        place=line.place,
        since=line.since,
        since_seq=line.since_seq if line.place != "stored" else None,
        share=line.share,
        origin=line.origin,
        trial=trial,
        last_change=change_view(line.last) if line.last else None,
        created_at=manifest.created_at if manifest else None,
        candidate=manifest.candidate if manifest else None,
        passed=manifest.gate.passed if manifest and manifest.gate else None,
    )


def lines_of(standing: Standing, manifests: Sequence[Manifest]) -> list[Line]:
    """Return the lines of the log and of the storage: the one that serves, the watched ones, then the others, newest first."""
    stored = [
        Line(name=m.line, place="stored", since_seq=0, since=m.created_at, origin=m.origin)
        for m in manifests
        if m.line not in standing.lines
    ]
    order = {"serving": 0, "split": 1, "shadow": 1, "former": 1}
    return sorted([*standing.lines.values(), *stored], key=lambda line: (order.get(line.place, 2), -(line.since or 0), line.name))


def models_view(task: str, log: TaskLog, manifests: Sequence[Manifest], trials: Mapping[str, Trial]) -> ModelsView:
    """Return the lines of a task as they are shown."""
    standing = Standing.after(log.changes)
    by_line = {manifest.line: manifest for manifest in manifests}
    lines = [line_view(line, by_line.get(line.name), trials.get(line.name)) for line in lines_of(standing, manifests)]
    return ModelsView(task=task, seq=log.seq, serving=standing.serving, lines=lines)


def line_detail(task: str, name: str, log: TaskLog, manifest: Manifest | None, trial: Trial | None) -> LineDetail | None:
    """Return all of a line as it is shown, None if there is no such line."""
    found = next((line for line in lines_of(Standing.after(log.changes), [manifest] if manifest else []) if line.name == name), None)
    if found is None:
        return None
    entries = sorted([*about(log.changes, name), *about(log.refusals, name)], key=lambda entry: entry.seq)
    return LineDetail(
        task=task, line=line_view(found, manifest, trial), manifest=manifest, history=[change_view(entry) for entry in entries]
    )


def model_at(task: str, log: TaskLog, time: int) -> ModelAtView:
    """Return which line was live at a time."""
    standing = Standing.after(until(log.changes, time))
    line = standing.lines[standing.serving]
    return ModelAtView(
        task=task,
        time=time,
        line=line.name,
        since=line.since,
        since_seq=line.since_seq,
        change=change_view(line.last) if line.last else None,
        watched=dict(standing.watched),
    )


def history_view(task: str, log: TaskLog, limit: int) -> HistoryView:
    """Return the newest changes and refusals."""
    entries = sorted([*log.changes, *log.refusals], key=lambda entry: -entry.seq)
    return HistoryView(task=task, changes=[change_view(entry) for entry in entries[:limit]])


def command_view(command_id: str, answer: AnyChange | None, location: str) -> CommandView:
    """Return what is known of a command."""
    state: Literal["waiting", "done", "refused"] = "waiting"
    if answer is not None:
        state = "refused" if isinstance(answer, RefusalEntry) else "done"
    return CommandView(command_id=command_id, state=state, answer=change_view(answer) if answer else None, location=location)
