"""The state of a stack as a table for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec

from schemas.kafka_address import servers_of
from schemas.redis_address import without_password
from schemas.settings import PREFIX
from stack.state import Condition, StackState, missing_output


def shown(state: StackState) -> StackState:
    """Return the state without the password that the URL of a Redis may hold: what is printed is copied into mails and issues."""
    addresses = msgspec.structs.replace(state.addresses, redis=without_password(state.addresses.redis))
    settings = {name: without_password(value) if name == f"{PREFIX}REDIS" else value for name, value in state.settings.items()}
    return msgspec.structs.replace(state, addresses=addresses, settings=settings)


def status_lines(state: StackState, *, now: float) -> list[str]:
    """Return the lines of `millrace status`; `now` in epoch seconds."""
    parts = [("part", "state", "for", "pid", "restarts", "where")]
    parts += [
        (part.name, part.state, _age(now - part.since), str(part.pid or "-"), str(part.restarts), part.url or _port(part.port))
        for part in state.parts
    ]
    jobs = [("job", "state", "for", "Flink's id", "restarts", "submitted again", "checkpoints", "failed", "unanswered")]
    jobs += [
        (
            job.job, job.state, _age(now - job.since), job.id or "-", str(job.restarts), str(job.resubmissions),
            str(job.checkpoints_completed), str(job.checkpoints_failed), "checking" if job.checking else str(job.unanswered),
        )
        for job in state.jobs
    ]  # fmt: skip
    head = f"{state.phase}, supervisor {state.pid}, data in {state.data_dir}"
    errors = [f"{name}: {error}" for name, condition, error in _errors(state) if error and condition is not Condition.HEALTHY]
    errors += [f"job {job.job}: {missing_output(job)}" for job in state.jobs if job.unanswered]
    errors += [f"job {job.job}: passed over {refused}" for job in state.jobs for refused in job.refused_states]
    addresses = [
        f"Kafka {servers_of(state.addresses.kafka)}   Redis {without_password(state.addresses.redis)}",
        *([f"API and dashboard {state.addresses.api}   API docs {state.addresses.api}/docs"] if state.addresses.api else []),
        *(["metrics  " + "   ".join(f"{part} {url}" for part, url in state.addresses.metrics.items())] if state.addresses.metrics else []),
    ]
    notes = ["", *state.notes] if state.notes else []
    return [head, *addresses, "", *_table(parts), "", *_table(jobs), *notes, *(["", *errors] if errors else [])]


def _errors(state: StackState) -> Iterable[tuple[str, Condition, str | None]]:
    yield from ((part.name, part.state, part.error) for part in state.parts)
    yield from ((f"job {job.job}", job.state, job.error) for job in state.jobs)


def _port(port: int | None) -> str:
    return f"127.0.0.1:{port}" if port else "-"


def _age(seconds: float) -> str:
    """Return a duration for people.

    >>> _age(5.2), _age(125), _age(7300)
    ('5 s', '2 min', '2 h')
    """
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    return f"{int(seconds // 60)} min" if seconds < 3600 else f"{int(seconds // 3600)} h"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def print_status(state: StackState) -> None:
    """Print the table."""
    print("\n".join(status_lines(state, now=time.time())))
