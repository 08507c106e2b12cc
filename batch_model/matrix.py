"""Texts as the features that serving takes from them: a sparse matrix whose columns are the rows of the model's table that occur."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from online_model.models import OwnModel

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_TEXTS_AT_ONCE = 512


class TooLarge(Exception):
    """The features of the texts need more memory than is allowed: train on fewer texts, or allow more."""


class Matrix(msgspec.Struct, frozen=True):
    """A sparse matrix by texts (CSR): text i has `values[starts[i]:starts[i + 1]]` in `columns[starts[i]:starts[i + 1]]`.

    Attributes:
        starts: int64, one more than there are texts.
        columns: int32, places in `rows`, ascending within a text.
        values: float32; features of a text that share a row are added together.
        rows: int64, the rows of the model's table that occur, ascending.
    """

    starts: Longs
    columns: Ints
    values: Floats
    rows: Longs

    def __len__(self) -> int:
        """Return the number of texts."""
        return int(self.starts.size - 1)

    def taken(self, texts: Longs) -> tuple[Longs, Longs, Floats]:
        """Return the features of some texts, in their order: where each begins (one more than there are texts), columns, values."""
        sizes = self.starts[texts + 1] - self.starts[texts]
        starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        places = np.arange(starts[-1]) + np.repeat(self.starts[texts] - starts[:-1], sizes)
        return starts, self.columns[places].astype(np.int64), self.values[places]

    def part(self, first: int, last: int) -> Matrix:
        """Return the texts from `first` to before `last`, without copying them."""
        begin, end = self.starts[first], self.starts[last]
        return Matrix(self.starts[first : last + 1] - begin, self.columns[begin:end], self.values[begin:end], self.rows)

    def texts_with(self, last: int) -> Longs:
        """Return in how many of the first `last` texts each row occurs."""
        return np.bincount(self.columns[: self.starts[last]], minlength=self.rows.size).astype(np.int64)

    def scores(self, table: npt.NDArray[Any]) -> Doubles:
        """Return the logits of a table with a row for each of `rows`, added up in float64: texts by classes."""
        weights = torch.from_numpy(table.astype(np.float64))
        found = np.empty((len(self), table.shape[1]))
        for begin in range(0, len(self), _TEXTS_AT_ONCE):
            starts, columns, values = self.taken(np.arange(begin, min(begin + _TEXTS_AT_ONCE, len(self))))
            found[begin : begin + starts.size - 1] = functional.embedding_bag(
                torch.from_numpy(columns),
                weights,
                torch.from_numpy(starts),
                mode="sum",
                per_sample_weights=torch.from_numpy(values.astype(np.float64)),
                include_last_offset=True,
            ).numpy()
        return found


def matrix_of(
    texts: Sequence[str], model: OwnModel, *, memory_mib: int = 1024, progress: Callable[[int], None] = lambda _texts: None
) -> Matrix:
    """Return the features that `model` takes from texts.

    Args:
        texts: the texts.
        model: one that knows all classes, since rows halve when classes outgrow the capacity; what it has learned does not matter.
        memory_mib: memory that the matrix may take, with what is needed to make it.
        progress: is called now and then with the number of texts so far.

    Raises:
        TooLarge: if that does not suffice; the message says for how many texts it did.
    """
    most = memory_mib * 2**20 // 16  # 8 bytes a feature, twice, while the parts are joined
    sizes: list[Longs] = [np.zeros(1, np.int64)]
    rows: list[Ints] = []
    values: list[Floats] = []
    total = 0
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        part = _part(texts[first : first + _TEXTS_AT_ONCE], model)
        sizes.append(part[0])
        rows.append(part[1])
        values.append(part[2])
        total += part[1].size
        if total > most:
            raise TooLarge(f"the features of {first} of {len(texts)} texts fill {memory_mib} MiB")
        progress(min(first + _TEXTS_AT_ONCE, len(texts)))
    occurs = np.zeros(model.rows, np.bool_)
    for part_rows in rows:
        occurs[part_rows] = True
    places = (np.cumsum(occurs, dtype=np.int64) - 1).astype(np.int32)
    columns = np.concatenate([places[part_rows] for part_rows in _handed_over(rows)])
    return Matrix(np.cumsum(np.concatenate(sizes)), columns, np.concatenate(values), np.flatnonzero(occurs).astype(np.int64))


def _part(texts: Sequence[str], model: OwnModel) -> tuple[Longs, Ints, Floats]:
    """Return how many features each text has, their rows, ascending within a text, and their values."""
    found = [model.features_of(text) for text in texts]
    text = np.repeat(np.arange(len(texts), dtype=np.int64), [rows.size for rows, _ in found])
    keys = (text << 32) | np.concatenate([rows for rows, _ in found]).astype(np.int64)
    distinct, place = np.unique(keys, return_inverse=True)
    values = np.bincount(place, np.concatenate([values for _, values in found])).astype(np.float32)
    return np.bincount(distinct >> 32, minlength=len(texts)), (distinct & 0xFFFFFFFF).astype(np.int32), values


def _handed_over(arrays: list[Ints]) -> Iterator[Ints]:
    """Yield the arrays, and let go of each as soon as it was used."""
    arrays.reverse()
    while arrays:
        yield arrays.pop()
