"""A linear softmax over hashed n-grams as a River classifier: deterministic, of fixed memory, learns one text at a time."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
from river import base

from online_model import calibration, features, kernels, scoring
from online_model.blocks import Block
from online_model.cleaning import cleaner
from online_model.explanation import Explanation, Kind, Listed, explained, names_of
from online_model.samples import Frame, Sample, encoded, named_feature, samples
from online_model.sizes import capacity_for, sizes
from online_model.stored_arrays import Arrays, checked, weights
from online_model.tokens import MAX_POINTS

MOST_CLASSES = 10_000
"""Further classes are not learned: they would leave too little room for those that are."""

_MOST_BALANCE = 10.0
_MOST_WEIGHT = 1e6  # of a label: beyond, squares would overflow
_LEAST_RATE, _MOST_RATE = 1e-6, 100.0  # below, weights would be denormal
_MOST_MEMORY = 16384  # rows are numbered by int32


class HashedSoftmax(base.MiniBatchClassifier):
    """Multinomial logistic regression on hashed words, word pairs and characters, trained with AdaGrad, calibrated online.

    What is learned lies in one float32 table of `rows` times `capacity`, with a sum of squares for each row (AdaGrad by rows). The
    capacity starts at 2 classes and grows when they outgrow it; then the rows halve until memory fits, rows 2r and 2r + 1 being added
    together. The same labels in the same order give the same bytes, on every CPU. Not thread-safe: whoever shares a model between
    threads must take turns.

    Samples are texts, or dicts of named features: numbers as they are, anything else as an indicator of name and value.

    Args:
        memory_mib: memory of everything that grows or is kept, in MiB; a workspace of 4 MiB is shared by all models of a process.
        learning_rate: step size of AdaGrad.
        balance: weights of labels by the rarity of their class, from 0 (none) to 1 (all classes weigh the same in sum).
        clean: steps of cleaning before texts are taken apart, joined by "_" (see `online_model.cleaning`).

    >>> model = HashedSoftmax(memory_mib=1)
    >>> model.predict_proba_one("good morning")
    {}
    >>> for text, label in [("good morning", "hello"), ("see you later", "bye"), ("good evening", "hello")]:
    ...     model.learn_one(text, label)
    >>> model.predict_one("Good day!")
    'hello'
    """

    def __init__(self, memory_mib: int = 32, learning_rate: float = 0.2, balance: float = 0.0, clean: str | None = None) -> None:
        if not 1 <= memory_mib <= _MOST_MEMORY or not _LEAST_RATE <= learning_rate <= _MOST_RATE or not 0 <= balance <= 1:
            raise ValueError(
                f"memory_mib={memory_mib} must be 1 to {_MOST_MEMORY}, learning_rate={learning_rate} {_LEAST_RATE:g} to {_MOST_RATE:g}, "
                f"balance={balance} 0 to 1"
            )
        self.memory_mib = memory_mib
        self.learning_rate = float(learning_rate)  # a whole number would be compiled for anew
        self.balance = float(balance)
        self.clean = clean
        self._clean = cleaner(clean)
        self._start([], capacity_for(0))

    def _start(self, classes: list[Any], capacity: int) -> None:
        self.classes = classes
        self._index = {name: index for index, name in enumerate(classes)}
        bits, kept = sizes(self.memory_mib, capacity)
        self._block = Block(scoring.sections(bits, capacity, kept))
        model = scoring.Model(*self._block.arrays)
        self._info, self._squares, self._calibrator, self._counts = model.info, model.squares, model.calibrator, model.counts
        self._table = model.table.reshape(-1, capacity)
        self._scores = model.scores
        self._known_scores = self._scores[: len(classes)]
        self._order, self._best = np.empty(0, np.int64), np.empty(0, np.float64)
        model.info[[scoring.BITS, scoring.WIDTH, scoring.CLASSES, scoring.VERSION, scoring.KEPT]] = bits, capacity, len(classes), 1, kept
        self._calibrator[:] = calibration.initial()
        self._at = self._block.directory
        self._work = features.workspace().directory

    @property
    def _multiclass(self) -> bool:
        return True

    @property
    def rows(self) -> int:
        """Rows of the table: a power of two."""
        return int(self._table.shape[0])

    @property
    def capacity(self) -> int:
        """Classes for which the table has room."""
        return int(self._table.shape[1])

    @property
    def memory_bytes(self) -> int:
        """Bytes of the model's arrays."""
        return self._block.size

    # River's signatures say dict, though its own text models take strings; so does this one.
    def learn_one(self, x: Sample, y: Hashable, w: float = 1.0) -> None:
        """Learn that sample `x` has label `y`, with weight `w` on its loss.

        Raises:
            ValueError: if the weight is not from 0 to a million, or a named feature is no finite number; then nothing is learned.
        """
        if not 0 <= w <= _MOST_WEIGHT:
            raise ValueError(f"weight {w} is not from 0 to {_MOST_WEIGHT:.0f}")
        target = self._index.get(y)
        if target is None:
            if len(self.classes) == MOST_CLASSES:
                return
            # What cannot be read raises before there is a class more.
            _ = self._encoded(x) if isinstance(x, str) else self._named(x)
            target = self._add_class(y)
        weight = float(w) * self._balancing(target)
        if isinstance(x, str):
            kernels.learn(self._at, self._work, self._encoded(x), target, weight, self.learning_rate)
        else:
            kernels.learn_named(self._at, self._work, *self._named(x), target, weight, self.learning_rate)
        self._counts[target] += w

    def predict_proba_one(self, x: Sample) -> dict[Any, float]:  # type: ignore[override]  # as above
        """Return the probability of each known class, in order of their appearance; empty if none is known."""
        self._predict(x)
        return dict(zip(self.classes, self._known_scores.tolist()))  # noqa: B905 - equally long, and the keyword would cost 0.2 µs

    def predict_top(self, x: str, top: int) -> dict[Any, float]:
        """Return the `top` most probable classes, most probable first, probabilities rounded to 6 decimals."""
        if not self.classes:
            return {}
        self._predict(x)
        if self._order.size != top:
            self._order, self._best = np.empty(top, np.int64), np.empty(top, np.float64)
        kept = kernels.most_probable(self._at, self._order, self._best)
        order = self._order.tolist() if kept == top else self._order[:kept].tolist()
        classes = self.classes
        return {classes[c]: p for c, p in zip(order, self._best.tolist())}  # noqa: B905 - as above

    def predict_one(self, x: Sample) -> Any:  # type: ignore[override]  # as above
        """Return the most probable class, or None if none is known."""
        if not self.classes:
            return None
        self._predict(x)
        return self.classes[int(self._known_scores.argmax())]

    def explain(self, x: Sample, label: Hashable = None) -> Explanation | None:
        """Return what each feature of `x` adds to the logit of `label`, or of the most probable class; None without classes.

        Raises:
            KeyError: if the model does not know the label.
        """
        if label is None:
            label = self.predict_one(x)
            if label is None:
                return None
        column = self._table[:, self._index[label]]
        if isinstance(x, str):
            found = Listed(*kernels.listed(self._at, self._work, self._encoded(x)))
            return explained(label, names_of(found), found.values.astype(np.float64) * column[found.rows])
        rows, values = self._named(x)
        names = [(Kind.BIAS, ""), *((Kind.NAMED, name) for _, _, name in sorted(named_feature(n, v) for n, v in x.items()))]
        weights = column[[features.bias_row(int(self._info[scoring.BITS])), *rows.tolist()]]
        return explained(label, iter(names), np.array([features.WEIGHTS[0], *values.tolist()]) * weights)

    def features_of(self, text: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the rows of the table that a text's features have, and their values; two features may share a row.

        The logits of the classes are the values times those rows of the table. Rows are halved when the classes outgrow the capacity, so
        features are those of a model with so many classes.
        """
        return kernels.listed(self._at, self._work, self._encoded(text))[:2]

    def _predict(self, x: Sample) -> None:
        if not self.classes:
            return
        if isinstance(x, str):
            kernels.predict(self._at, self._work, self._encoded(x))
        else:
            kernels.predict_named(self._at, self._work, *self._named(x))

    def learn_many(self, X: Frame, y: Frame, w: Frame | None = None) -> None:  # noqa: N803 - River's name
        """Learn each row, in order: a Series of texts, or a DataFrame of named features; `w` are the rows' weights, 1 by default."""
        for x, label, weight in zip(samples(X), y, [1.0] * len(y) if w is None else w, strict=True):
            self.learn_one(x, label, weight)

    def predict_proba_many(self, X: Frame) -> Frame:  # noqa: N803 - River's name
        """Return a row of probabilities for each row, and a column for each known class."""
        import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; 0.4 s that a job does not need

        return pd.DataFrame([self.predict_proba_one(x) for x in samples(X)], index=X.index, columns=self.classes)

    def _encoded(self, text: str) -> bytes:
        return encoded(text if self._clean is None else self._clean(text[:MAX_POINTS]))

    def _named(self, x: dict[Any, Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return rows and values of named features, in an order that does not depend on the dict's."""
        bits = int(self._info[scoring.BITS])
        found = sorted(named_feature(name, value) for name, value in x.items())
        rows = np.array([key >> (64 - bits) for key, _, _ in found], np.int32)
        return rows, np.array([value for _, value, _ in found], np.float32)

    def _balancing(self, target: int) -> float:
        if self.balance == 0.0:
            return 1.0
        counts = self._counts[: len(self.classes)]
        rarity = (float(counts.sum()) + 1.0) / (len(self.classes) * (float(counts[target]) + 1.0))
        return float(min(_MOST_BALANCE, 1.0 + self.balance * (rarity - 1.0)))

    def _add_class(self, name: Hashable) -> int:
        if len(self.classes) == self.capacity:
            self._grow()
        self._index[name] = len(self.classes)
        self.classes.append(name)
        self._info[scoring.CLASSES] = len(self.classes)
        self._known_scores = self._scores[: len(self.classes)]
        return self._index[name]

    def _grow(self) -> None:
        table, squares, counts, calibrator = self._table, self._squares, self._counts, self._calibrator.copy()
        self._start(self.classes, capacity_for(len(self.classes) + 1))
        while len(table) > self.rows:
            table, squares = table[0::2] + table[1::2], squares[0::2] + squares[1::2]
        self._table[:, : table.shape[1]] = table
        self._squares[:] = squares
        self._counts[: counts.size] = counts
        self._calibrator[:] = calibrator

    def arrays(self) -> Arrays:
        """Return what was learned: the touched rows' numbers, weights and sums of squares, calibrator, labels of each class."""
        count = len(self.classes)
        rows = np.flatnonzero(self._squares)
        return {
            "rows": rows.astype(np.uint32),
            "weights": np.ascontiguousarray(self._table[rows, :count]),
            "squares": self._squares[rows],
            "calibrator": self._calibrator.copy(),
            "counts": self._counts[:count].copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, classes: list[Any], **parameters: Any) -> HashedSoftmax:
        """Return the model whose `arrays()` and `classes` these are; `parameters` are those of the class.

        Weights may be float16 as well, or int8 with a float16 `scales`, by which each row is multiplied: small artifacts of a refresh. The
        model's table is float32 in any case.

        Raises:
            ValueError: if the arrays do not fit the parameters or each other.
        """
        if len(set(classes)) != len(classes) or len(classes) > MOST_CLASSES:
            raise ValueError(f"a class is listed twice, or there are more than {MOST_CLASSES}")
        model = cls(**parameters)
        model._load(arrays, list(classes))
        return model

    def _load(self, arrays: Arrays, classes: list[Any]) -> None:
        self._start(classes, capacity_for(len(classes)))
        rows = checked(arrays, "rows", np.uint32, (-1,))
        if rows.size and int(rows.max()) >= self.rows:
            raise ValueError(f"row {int(rows.max())} of {self.rows}")
        self._table[rows, : len(classes)] = weights(arrays, (rows.size, len(classes)))
        self._squares[rows] = squares = checked(arrays, "squares", np.float32, (rows.size,))
        if not squares.all():
            # By its squares a row is known to be learned: without them its weights would serve, and be in no snapshot and fingerprint.
            raise ValueError("array 'squares' holds numbers that nobody can have learned")
        self._calibrator[:] = checked(arrays, "calibrator", np.float64, (calibration.STATE_SIZE,))
        if not calibration.is_possible(self._calibrator):
            raise ValueError("array 'calibrator' holds numbers that nobody can have learned")
        self._counts[: len(classes)] = checked(arrays, "counts", np.float64, (len(classes),))

    def __getstate__(self) -> dict[str, Any]:
        return {**self._get_params(), "classes": list(self.classes), "arrays": self.arrays()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays, classes = state.pop("arrays"), state.pop("classes")
        self.__dict__.update(state)
        self._clean = cleaner(self.clean)
        self._load(arrays, classes)


def warm_up() -> None:
    """Compile every kernel, or load it from the cache: call it before the first text that must not wait (a minute, uncached)."""
    model = HashedSoftmax(memory_mib=1)
    model.learn_one("text", "class")
    model.predict_one("text")
    model.predict_top("text", 1)
