"""`millrace data split FILE`: a file of labelled texts in three parts, to train, to validate and to test on."""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from stack.errors import StackError
from stack.folders import write_atomically
from stack.replay import SkippedLines
from store.labelled_files import BadLine, Row, SourceError, read_rows

PARTS = ("train", "validation", "test")
By = Literal["time", "random", "hash"]
_HASH_RANGE = 2**64


def shares(text: str) -> tuple[float, float, float]:
    """Return the shares of the three parts.

    >>> shares("0.8,0.1,0.1")
    (0.8, 0.1, 0.1)
    """
    values = tuple(float(part) for part in text.split(","))
    if len(values) != len(PARTS) or not min(values) >= 0 or not abs(sum(values) - 1) <= 1e-6 or not values[0]:  # nan is none either
        raise argparse.ArgumentTypeError(f"{text!r}: three shares are needed, of {', '.join(PARTS)}, that sum to 1; the first above 0")
    return values[0], values[1], values[2]


def assign(rows: Sequence[Row], by: By, parts: tuple[float, float, float], seed: int) -> list[str]:
    """Return the part of each row.

    By time, the newest rows are for the test and those before them for validation; a file without times is taken as ordered by time.
    By hash, equal texts are in one part, whatever else the file holds, and stay there when it grows; the shares are then about met.

    Raises:
        SourceError: if only some of the rows have a time, and it is to be split by it.
    """
    if by == "hash":
        return [_by_position(_hash(row.text, seed), parts) for row in rows]
    order = list(range(len(rows)))
    if by == "random":
        random.Random(seed).shuffle(order)
    else:
        timed = sum(row.ts is not None for row in rows)
        if 0 < timed < len(rows):
            raise SourceError(f"{len(rows) - timed} of {len(rows)} rows have no ts: split them with --by random or --by hash")
        order.sort(key=lambda index: rows[index].ts or 0)
    assigned = [""] * len(rows)
    for place, index in enumerate(order):
        assigned[index] = _by_position((place + 0.5) / len(rows), parts)
    return assigned


def _by_position(position: float, parts: tuple[float, float, float]) -> str:
    if position < parts[0]:
        return PARTS[0]
    return PARTS[1] if position < parts[0] + parts[1] else PARTS[2]


def _hash(text: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\n{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _HASH_RANGE


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 if the parts are written."""
    skipped = SkippedLines()
    rows: list[Row] = []
    try:
        for row in read_rows(args.file):
            if isinstance(row, BadLine):
                skipped.show(row)
            else:
                rows.append(row)
        if not rows:
            raise SourceError(f"{args.file}: the file holds no rows")
        assigned = assign(rows, args.by, args.parts, args.seed)
    except SourceError as error:
        raise StackError(str(error)) from error
    folder = args.output or args.file.with_name(f"{args.file.name.partition('.')[0]}-parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            _write(folder / f"{part}.jsonl", part, [row for row, to in zip(rows, assigned, strict=True) if to == part])
    except OSError as error:
        raise StackError(f"{folder}: cannot be written: {error.strerror}") from error
    return 0


def _write(path: Path, part: str, rows: Sequence[Row]) -> None:
    write_atomically(path, b"".join(to_line(row, part) for row in rows))
    classes = len({row.label for row in rows if row.label is not None})
    print(f"{path}: {len(rows):,} rows, {classes} classes")


def to_line(row: Row, split: str) -> bytes:
    """Return a row as a line of JSON, with its part in `split`."""
    fields: dict[str, object] = {"text": row.text}
    if row.label is not None:
        fields["label"] = row.label
    if row.ts is not None:
        fields["ts"] = row.ts
    return msgspec.json.encode({**fields, **row.meta, "split": split}) + b"\n"
