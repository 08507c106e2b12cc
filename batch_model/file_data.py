"""Training data from a file of labelled texts: JSON Lines or CSV, split by its own field `split`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from batch_model.data import DataError, Dataset, Taught, Window, dataset
from batch_model.rows import LabelledText
from store.labelled_files import BadLine, Row, read_rows, weight_of

TRAIN, TEST = "train", "test"
_ID_FIELDS = ("event_id", "id")


class FileRows(msgspec.Struct, frozen=True):
    """The labelled rows of one file, by split.

    Attributes:
        name: the file.
        train: of the split `train`; all of them, if no row has a split.
        test: of the split `test`.
        left_out: what is not used, in words.
    """

    name: str
    train: list[Taught]
    test: list[LabelledText]
    left_out: list[str] = []


def read_file(path: Path, *, on_skip: Callable[[BadLine], None]) -> FileRows:
    """Return the labelled rows of a file.

    Args:
        path: the file, as for `store.labelled_files.read_rows`; `event_id` (or `id`), `weight` and `split` are among its fields.
        on_skip: is told of lines that cannot be read.

    Raises:
        SourceError: if the file cannot be read.
    """
    train: list[Taught] = []
    test: list[LabelledText] = []
    without_split: list[Taught] = []
    bad = unlabelled = elsewhere = 0
    for number, row in enumerate(read_rows(path), 1):
        one = _taught(number, row)
        if isinstance(one, BadLine):
            bad += 1
            on_skip(one)
        elif one is None or not isinstance(row, Row):
            unlabelled += 1
        else:
            split = row.meta.get("split")
            elsewhere += split not in {None, TRAIN, TEST}
            if split == TEST:
                test.append(one.row)
            elif split == TRAIN:
                train.append(one)
            elif split is None:
                without_split.append(one)
    if not train and not test and not elsewhere:
        train, without_split = without_split, []
    left_out = {"lines cannot be read": bad, "rows have no label": unlabelled}
    left_out[f"rows are of no split `{TRAIN}` or `{TEST}`"] = elsewhere + len(without_split)
    return FileRows(path.name, train, test, [f"{path}: {number:,} {what}" for what, number in left_out.items() if number])


def _taught(number: int, row: Row | BadLine) -> Taught | BadLine | None:
    if isinstance(row, BadLine) or row.label is None:
        return row if isinstance(row, BadLine) else None
    try:
        weight = weight_of(row)
    except ValueError as error:
        return BadLine(number, str(error))
    event = next((str(value) for name in _ID_FIELDS if (value := row.meta.get(name)) is not None), f"\0{number}")
    return Taught(number, event, LabelledText(row.text, row.label, weight, row.ts or 0))


def from_file(rows: FileRows, window: Window) -> Dataset:
    """Return what is trained on: the rows of the split `train`, in the order of their times where every row has one.

    Raises:
        DataError: if they name fewer than two classes.
    """
    data = dataset(_in_time(rows.train), source=rows.name, window=window)
    if data.spec.classes < 2:
        raise DataError(f"{rows.name}: its {data.spec.rows} labelled rows to train on name {data.spec.classes} classes; two are needed")
    return data


def _in_time(taught: Sequence[Taught]) -> Sequence[Taught]:
    return sorted(taught, key=lambda one: one.row.time) if all(one.row.time for one in taught) else taught
