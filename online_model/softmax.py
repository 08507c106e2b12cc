"""A linear softmax over hashed n-grams as a River classifier: deterministic, of bounded memory, learns one text at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from river import base

from online_model import features, kernels

FIRST_CAPACITY = 8
MIN_ROWS = 1024

Arrays = dict[str, npt.NDArray[Any]]


class HashedSoftmax(base.Classifier):
    """Multinomial logistic regression on hashed words, word pairs and characters 2-5, trained with AdaGrad.

    Weights and AdaGrad's sums of squares are float32 tables of `rows` times `capacity`. The capacity starts at 8 classes
    and doubles when they outgrow it; then the rows halve, rows r and r + rows/2 being added together, so that memory
    stays within the budget (below 1,024 rows the budget gives way). The same labels in the same order give the same
    bytes, on every CPU. Not thread-safe: whoever shares a model between threads must take turns.

    Args:
        memory_mib: budget for the two tables in MiB; the number of rows is the largest power of two that fits.
        learning_rate: step size of AdaGrad.

    >>> model = HashedSoftmax(memory_mib=1)
    >>> model.predict_proba_one("good morning")
    {}
    >>> for text, label in [("good morning", "hello"), ("see you", "bye")]:
    ...     model.learn_one(text, label)
    >>> model.predict_one("Good evening!")
    'hello'
    """

    def __init__(self, memory_mib: int = 64, learning_rate: float = 0.2) -> None:
        if memory_mib < 1 or not learning_rate > 0:
            raise ValueError(f"memory_mib={memory_mib} must be at least 1 and learning_rate={learning_rate} positive")
        self.memory_mib = memory_mib
        self.learning_rate = learning_rate
        self.classes: list[str] = []
        self._index: dict[str, int] = {}
        self._allocate(FIRST_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        rows = rows_within(self.memory_mib, capacity)
        self._table = np.zeros((rows, capacity), dtype=np.float32)
        self._squares = np.zeros((rows, capacity), dtype=np.float32)

    @property
    def _multiclass(self) -> bool:
        return True

    @property
    def rows(self) -> int:
        """Rows of the tables: a power of two."""
        return int(self._table.shape[0])

    @property
    def capacity(self) -> int:
        """Classes for which the tables have room."""
        return int(self._table.shape[1])

    # River's signatures say dict, though its own text models take strings; so does this one.
    def learn_one(self, x: str, y: str, w: float = 1.0) -> None:  # type: ignore[override]  # River says dict, texts are str
        """Learn that text `x` has label `y`, with weight `w` on its loss."""
        target = self._index.get(y)
        if target is None:
            target = self._add_class(y)
        hashes, values = features.extract(x)
        kernels.learn(hashes, values, self._table, self._squares, len(self.classes), target, float(w), self.learning_rate)

    def predict_proba_one(self, x: str) -> dict[str, float]:  # type: ignore[override]  # River says dict, texts are str
        """Return the probability of each known class, in order of their appearance; empty if none is known."""
        if not self.classes:
            return {}
        hashes, values = features.extract(x)
        proba = kernels.probabilities(hashes, values, self._table, len(self.classes))
        return dict(zip(self.classes, proba.tolist(), strict=True))

    def predict_top(self, x: str, top: int) -> dict[str, float]:
        """Return the `top` most probable classes, most probable first, probabilities rounded to 6 decimals."""
        if not self.classes:
            return {}
        hashes, values = features.extract(x)
        order, proba = kernels.most_probable(hashes, values, self._table, len(self.classes), top)
        classes = self.classes
        return {classes[c]: p for c, p in zip(order.tolist(), proba.tolist(), strict=True)}

    def predict_one(self, x: str) -> str | None:  # type: ignore[override]  # River says dict, texts are str
        """Return the most probable class, or None if none is known."""
        return next(iter(self.predict_top(x, 1)), None)

    def _add_class(self, name: str) -> int:
        if len(self.classes) == self.capacity:
            self._grow()
        self._index[name] = len(self.classes)
        self.classes.append(name)
        return self._index[name]

    def _grow(self) -> None:
        old = (self._table, self._squares)
        used = self.capacity
        self._allocate(2 * used)
        for source, target in zip(old, (self._table, self._squares), strict=True):
            target[:, :used] = source if len(source) == self.rows else source[: self.rows] + source[self.rows :]

    def arrays(self) -> Arrays:
        """Return what was learned: the touched rows' numbers, weights and sums of squares (copies)."""
        count = len(self.classes)
        rows = kernels.touched_rows(self._table, self._squares, count)
        return {
            "rows": rows.astype(np.uint32),
            "weights": np.ascontiguousarray(self._table[rows, :count]),
            "squares": np.ascontiguousarray(self._squares[rows, :count]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, classes: list[str], *, memory_mib: int, learning_rate: float) -> HashedSoftmax:
        """Return the model whose `arrays()` and `classes` these are.

        Raises:
            ValueError: if the arrays do not fit the settings or each other.
        """
        model = cls(memory_mib, learning_rate)
        if len(set(classes)) != len(classes):
            raise ValueError("a class is listed twice")
        capacity = FIRST_CAPACITY
        while capacity < len(classes):
            capacity *= 2
        model._allocate(capacity)
        rows = _checked(arrays, "rows", np.uint32, (-1,))
        if rows.size and int(rows.max()) >= model.rows:
            raise ValueError(f"row {int(rows.max())} of {model.rows}")
        for name, table in (("weights", model._table), ("squares", model._squares)):
            table[rows, : len(classes)] = _checked(arrays, name, np.float32, (rows.size, len(classes)))
        model.classes = list(classes)
        model._index = {name: index for index, name in enumerate(classes)}
        return model


def warm_up() -> None:
    """Compile every kernel, or load it from the cache: call it before the first text that must not wait (seconds, uncached)."""
    model = HashedSoftmax(memory_mib=1)
    model.learn_one("text", "class")
    model.predict_one("text")
    model.predict_proba_one("text")
    model.arrays()


def rows_within(memory_mib: int, capacity: int) -> int:
    """Return how many rows of both tables fit the budget: a power of two, at least 1,024.

    >>> rows_within(64, 8), rows_within(64, 16), rows_within(1, 4096)
    (1048576, 524288, 1024)
    """
    rows = MIN_ROWS
    while 2 * rows * capacity * 8 <= memory_mib * 2**20:
        rows *= 2
    return rows


def _checked(arrays: Arrays, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim != len(shape):
        raise ValueError(f"array {name!r} is missing or of another type")
    if any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"array {name!r} has shape {array.shape}, not {shape}")
    return array
