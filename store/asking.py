"""From what a person asks of a line to the command for the learner: with the line's origin, from its manifest or the log. Pure."""

from __future__ import annotations

from typing import Literal

from schemas.log import Command, Origin
from schemas.manifest import Manifest
from store.standing import Standing

Do = Literal["promote", "shadow", "split", "drop", "rollback"]


class UnknownLine(Exception):
    """Neither the log nor the artifact storage knows the line."""


def command_of(
    do: Do,
    line: str | None,
    standing: Standing,
    manifest: Manifest | None,
    *,
    task: str,
    command_id: str,
    by: str,
    why: str = "",
    share: float | None = None,
    against: str | None = None,
) -> Command:
    """Return the command; `manifest` is that of the line, if one is stored.

    A manifest says more of a line than the log, but only of one that a refresh has made. What the log says of a line's origin
    goes first: the learner has checked it.

    Raises:
        UnknownLine: if nothing is known of the line.
    """
    known = standing.lines.get(line) if line is not None else None
    if line is not None and known is None and manifest is None:
        raise UnknownLine(f"task {task} has no line {line!r}: neither does the model log name it, nor is there a release of that name")
    origin: Origin | None = known.origin if known else manifest.origin if manifest else None
    return Command(
        command_id=command_id,
        task=task,
        do="serve" if do == "promote" else do,
        line=line,
        by=by,
        why=why,
        origin=None if do == "drop" else origin,
        share=share,
        against=against,
        metrics=manifest.metrics if manifest and do != "drop" else {},
        data=manifest.data.fingerprint if manifest and do != "drop" else None,
    )


def former_line(standing: Standing) -> str | None:
    """Return the line to which a rollback goes that names none."""
    return next((name for name, role in standing.watched.items() if role == "former"), None)
