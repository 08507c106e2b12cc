"""Lines, changes and trials as text for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from api.model_views import ChangeView, LineDetail, LineView, ModelAtView, ModelsView
from schemas.manifest import Gate, Manifest
from schemas.records import Trial
from stack.dead_letter_list import visible, when

_WHY_SHOWN = 60
_WHY_WHOLE = 4096


def lines_table(view: ModelsView) -> str:
    """Return the lines of a task as a table, the trials of the watched ones below."""
    rows: list[tuple[str, ...]] = [("line", "state", "since", "by", "why")]
    rows += [_line_row(line) for line in view.lines]
    trials = [trial_text(line.trial) for line in view.lines if line.trial]
    return "\n".join([f"task {view.task}, log at entry {view.seq}", "", *table(rows), *(["", *trials] if trials else [])])


def _line_row(line: LineView) -> tuple[str, ...]:
    state = f"{line.place} {line.share:.1%}" if line.share else line.place
    if line.place == "stored" and line.passed is False:
        state = "stored, gate said no"
    change = line.last_change
    since = f"{when(line.since)[:16]}" if line.since else "-"
    return line.line, state, since, plain(change.by, 20) if change else "-", plain(change.why, _WHY_SHOWN) if change else "-"


def trial_text(trial: Trial) -> str:
    """Return how a watched line compares with the one that serves.

    >>> trial_text(Trial(line="r1-a", role="shadow", champion="base", since_seq=7, labels=200, line_correct=180, champion_correct=170,
    ...                  only_line=15, only_champion=5))
    'r1-a (shadow since entry 7): 90.0 % of 200 labels right, base 85.0 %; only r1-a 15, only base 5'
    """
    head = f"{trial.line} ({trial.role} since entry {trial.since_seq})"
    if not trial.labels:
        return f"{head}: no label yet to compare it with {trial.champion}"
    own, other = trial.line_correct / trial.labels, trial.champion_correct / trial.labels
    shares = f"{own:.1%} of {trial.labels} labels right, {trial.champion} {other:.1%}"
    text = f"{head}: {shares}; only {trial.line} {trial.only_line}, only {trial.champion} {trial.only_champion}"
    if trial.served and trial.champion_served:
        own, other = trial.served_correct / trial.served, trial.champion_served_correct / trial.champion_served
        text += f"; served: {own:.1%} of {trial.served} right, {trial.champion} {other:.1%} of {trial.champion_served}"
    return text.replace("%", " %")


def line_page(detail: LineDetail) -> str:
    """Return all that is known of a line."""
    line = detail.line
    fields = {"line": line.line, "task": detail.task, "state": _line_row(line)[1]}
    if line.since_seq is not None and line.since is not None:
        fields["since"] = f"{when(line.since)}, entry {line.since_seq}"
    artifact = line.origin.artifact
    fields["began"] = f"after entry {line.origin.cut_seq} with {artifact.address} ({artifact.size_bytes:,} bytes)" if artifact else "empty"
    parts = [_fields(fields)]
    if line.trial:
        parts.append(trial_text(line.trial))
    if detail.manifest:
        parts.append(_manifest(detail.manifest))
    parts.append("\n".join(["history:", *map(change_line, detail.history)]) if detail.history else "history: none, it was never brought in")
    return "\n\n".join(parts)


def _manifest(manifest: Manifest) -> str:
    data = manifest.data
    fields = {
        "made": f"{when(manifest.created_at)} by {plain(manifest.by, 60)}: {plain(manifest.why, 200)}",
        "candidate": f"{manifest.candidate}, {manifest.variant}, {manifest.specification}, on top of {manifest.parent or 'nothing'}",
        "data": f"{data.rows} labels of {data.classes} classes from {data.source}, entries {data.first_seq} to {data.cut_seq}",
        "data sha256": data.fingerprint,
        "metrics": ", ".join(f"{name} {value:g}" for name, value in manifest.metrics.items()) or "-",
    }
    return "\n".join([_fields(fields), *(_gate(manifest.gate) if manifest.gate else ["gate: there was nothing to compare with"])])


def _gate(gate: Gate) -> list[str]:
    rows = [("", "accuracy", "macro-F1", "log loss")]
    for name, scores in (("challenger", gate.challenger), (f"champion {gate.champion_line}", gate.champion)):
        rows.append((name, f"{scores.accuracy:.4f}", f"{scores.macro_f1:.4f}", f"{scores.log_loss:.4f}"))
    failed = [f"case failed: {plain(case.text, 60)!r} gives {case.predicted}" for case in gate.cases if not case.passed]
    head = f"gate: {'passed' if gate.passed else 'not passed'}, {gate.labels} labels, p = {gate.p_value:.2g}"
    return [head, *table(rows), *(f"- {plain(reason, 200)}" for reason in gate.reasons), *failed]


def change_line(change: ChangeView) -> str:
    """Return a change as one line."""
    why = f": {plain(change.why, _WHY_WHOLE)}" if change.why else ""
    return f"{when(change.time)}  entry {change.seq:<8} {change.what}, by {plain(change.by, 60)}{why}"


def at_text(view: ModelAtView) -> str:
    """Return which line was live at a time."""
    watched = ", ".join(f"{name} ({role})" for name, role in view.watched.items())
    head = f"{view.line} served at {when(view.time)}" + (f", since {when(view.since)}" if view.since else ", from the beginning")
    return "\n".join(filter(None, [head, change_line(view.change) if view.change else "", f"watched: {watched}" if watched else ""]))


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines with columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def plain(text: str, limit: int) -> str:
    r"""Return a text that people wrote as one line in which nothing can steer a terminal.

    >>> plain("a\nb\x1b[31m" + "c" * 20, 12)
    'a b\\x1b[31m…'
    """
    shown = visible(text.encode(errors="replace")).replace("\n", " ").replace("\t", " ")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _fields(fields: dict[str, str]) -> str:
    width = max(map(len, fields))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in fields.items())
