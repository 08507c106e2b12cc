"""Labelled texts for tests of the refresh: real ones where there are some, else the generator's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from batch_model.rows import LabelledText
from stack.generator import generate
from store.labelled_files import Row, read_rows

DATA = Path(__file__).parents[2] / "shared" / "data"


def generated(count: int, seed: int = 1) -> list[LabelledText]:
    """Return generated texts with their labels."""
    return list(islice(_labelled(generate(2 * count, seed=seed)), count))


def real(name: str, count: int, *, seed: int = 1) -> list[LabelledText]:
    """Return the first labelled texts of a set of the data folder; generated ones, and a line that says so, if it is not there."""
    path = DATA / f"{name}.jsonl.gz"
    if path.exists():
        return list(islice(_labelled(read_rows(path)), count))
    sys.stderr.write(f"{path} is not there: generated texts stand in\n")
    return generated(count, seed)


def _labelled(rows: Iterator[object]) -> Iterator[LabelledText]:
    return (LabelledText(row.text, str(row.label)) for row in rows if isinstance(row, Row) and row.label is not None)
