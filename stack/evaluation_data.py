"""What is evaluated on: rows in order, split into those to learn and those to test on, and which labels come."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import msgspec

from stack.generator import generate
from store.labelled_files import BadLine, Row, SourceError, read_rows

GENERATED = "generated"
"""Stands for the generated stream in place of a file's name."""

TRAIN, TEST = "train", "test"


class Data(msgspec.Struct, frozen=True):
    """The rows of one file.

    Attributes:
        name: as it was given.
        train: rows for the pass in file order.
        test: rows for the model as it is after that.
        taken: for each row of `train`, whether its label comes.
        left_out: what of the file is not used, in words.
    """

    name: str
    train: list[Row]
    test: list[Row]
    taken: list[bool]
    left_out: list[str] = []


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows and labels are used: at most `limit` rows, a share of the labels drawn with `seed`; `events` of the generated stream."""

    limit: int | None = None
    label_fraction: float = 1.0
    seed: int = 0
    events: int = 20_000


def load(name: str, choice: Choice, *, on_skip: Callable[[BadLine], None]) -> Data:
    """Return the rows of a file, or of the generated stream.

    Without `split` in any row all are for the pass. Rows of another split than `train` and `test` are left out.

    Args:
        name: a file, or `generated`.
        choice: which of them.
        on_skip: is told of lines that cannot be read.

    Raises:
        SourceError: if the file cannot be read, or holds no label that could be scored.
    """
    source: Iterable[Row | BadLine] = generate(choice.events, seed=choice.seed) if name == GENERATED else read_rows(Path(name))
    rows: list[Row] = []
    unread = 0
    for row in islice(source, choice.limit):
        if isinstance(row, Row):
            rows.append(row)
        else:
            unread += 1
            on_skip(row)
    if not rows:
        raise SourceError(f"{name}: the file holds no rows")
    split = any("split" in row.meta for row in rows)
    train = [row for row in rows if row.meta.get("split") == TRAIN] if split else rows
    test = [row for row in rows if row.meta.get("split") == TEST and row.label is not None] if split else []
    draw = random.Random(choice.seed).random
    taken = [draw() < choice.label_fraction and row.label is not None for row in train]
    if not any(taken):
        labels = sum(row.label is not None for row in train)
        raise SourceError(f"{name}: no label is left to learn: {len(train)} rows{' of the split train' * split}, {labels} of them labelled")
    unlabelled = sum(row.label is None for row in rows)
    elsewhere = sum(row.meta.get("split") not in {TRAIN, TEST} for row in rows) if split else 0
    left_out = {
        "lines cannot be read": unread,
        "rows have no label: they are neither learned nor scored": unlabelled,
        f"rows are of no split `{TRAIN}` or `{TEST}`": elsewhere,
    }
    return Data(name, train, test, taken, [f"{name}: {number:,} {what}" for what, number in left_out.items() if number])
