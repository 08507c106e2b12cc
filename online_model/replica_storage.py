"""How the lines of a replica lie in a snapshot."""

from __future__ import annotations

from online_model import snapshots
from online_model.lines import MOST_WATCHED, Lines, Watched
from online_model.models import TextModel, restore
from online_model.snapshots import Arrays, Header, StoredLine
from online_model.trials import is_possible


def stored_lines(lines: Lines) -> tuple[list[StoredLine], Arrays]:
    """Return the lines as a snapshot's header lists them, and the arrays of all.

    Raises:
        ValueError: if the model of a line is missing: what is left is not what the log says.
    """
    if lines.missing:
        raise ValueError(f"lines {', '.join(sorted(lines.missing))} are missing: this is not the replica that the log makes")
    listed: list[StoredLine] = []
    arrays: Arrays = {}
    for number, (name, model) in enumerate(lines.models().items()):
        watched = lines.watched.get(name)
        listed.append(
            StoredLine(
                name=name,
                role=watched.role if watched else None,
                origin=lines.origin_of(name),
                model=model.specification,
                classes=list(model.classes),
                trial=watched.trial if watched else None,
            )
        )
        arrays |= snapshots.prefixed(number, model.arrays())
    return listed, arrays


def restored_lines(header: Header, arrays: Arrays, *, allow_pickle: bool) -> Lines:
    """Return the lines that a snapshot holds.

    Raises:
        ValueError: if no replica can have stored them, or a model does not fit its arrays.
    """
    _must_be_possible(header, arrays)
    first, *others = header.lines
    lines = Lines(_model(first, 0, arrays, allow_pickle=allow_pickle), line=first.name, origin=first.origin)
    for number, line in enumerate(others, start=1):
        if line.role is None or line.trial is None:
            raise ValueError(f"line {line.name!r} neither serves nor is watched")
        model = _model(line, number, arrays, allow_pickle=allow_pickle)
        lines.watched[line.name] = Watched(role=line.role, model=model, origin=line.origin, trial=line.trial)
    return lines


def _model(line: StoredLine, number: int, arrays: Arrays, *, allow_pickle: bool) -> TextModel:
    return restore(line.model, line.classes, snapshots.arrays_of(number, arrays), allow_pickle=allow_pickle)


def _must_be_possible(header: Header, arrays: Arrays) -> None:
    snapshots.must_be_computable(header)
    names = [line.name for line in header.lines]
    if not 1 <= len(names) <= 1 + MOST_WATCHED or len(set(names)) != len(names) or names[1:] != sorted(names[1:]):
        raise ValueError(f"no replica has lines {names[:10]}")
    first, *others = header.lines
    if first.role is not None or first.trial is not None:
        raise ValueError(f"line {first.name!r} serves and is watched at once")
    for line in others:
        trial = line.trial
        if trial is None or (trial.line, trial.role, trial.champion) != (line.name, line.role, first.name) or not is_possible(trial):
            raise ValueError(f"line {line.name!r} has a trial that cannot have come about")
    if strangers := [name for name in arrays if not _belongs(name, len(names))]:
        raise ValueError(f"arrays {strangers[:10]} belong to no line")


def _belongs(name: str, lines: int) -> bool:
    return any(name.startswith(f"{number}.") for number in range(lines))
