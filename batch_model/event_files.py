"""What was measured after each pass, as event files that TensorBoard reads."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from batch_model.outcome import Candidate

_PLAIN = re.compile(r"[^A-Za-z0-9._=-]+")


def slugs(candidates: Sequence[Candidate]) -> list[str]:
    """Return a plain name for each candidate, fit for a folder and for a metric; equal ones are numbered.

    >>> make = lambda name: Candidate(name=name, parameters={}, validation={}, seconds=0.0)
    >>> slugs([make("low rank, 64"), make("idf"), make("low rank; 64")])
    ['low-rank-64', 'idf', 'low-rank-64-2']
    """
    names: list[str] = []
    for candidate in candidates:
        plain = _PLAIN.sub("-", candidate.name).strip("-.")[:80] or "candidate"
        taken = sum(1 for name in names if name == plain or re.fullmatch(rf"{re.escape(plain)}-\d+", name))
        names.append(f"{plain}-{taken + 1}" if taken else plain)
    return names


def write_event_files(folder: Path, candidates: Sequence[Candidate], time_s: float) -> None:
    """Write a folder of event files for each candidate that has passes, as TensorBoard's runs.

    Args:
        folder: where; it is made.
        candidates: whose measurements; their step is the pass, from 1 on.
        time_s: the time of all of them, seconds since 1970.
    """
    # Half a second that only those pay who write such files; torch's own writer would load torch.
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]  # noqa: PLC0415 - it has no types; the import: see above
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]  # noqa: PLC0415 - the same
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

    for candidate, name in zip(candidates, slugs(candidates), strict=True):
        if not candidate.epochs:
            continue
        writer = EventFileWriter(str(folder / name))
        for step, measured in enumerate(candidate.epochs, start=1):
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in measured.items() if math.isfinite(value)]
            writer.add_event(Event(wall_time=time_s, step=step, summary=Summary(value=values)))
        writer.close()
