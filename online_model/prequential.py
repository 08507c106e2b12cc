"""Prequential evaluation: each label, and each verdict `wrong`, scores the prediction that was served, before the model learns it."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Any

import msgspec

from schemas.log import LabelEntry, VerdictEntry
from schemas.records import ClassQuality, Score, Scores, Served

LEAST_PROBABILITY = 1e-7
NOTHING = ""
"""Stands for the missing label of a prediction by a model without classes, and for the unknown truth of a `wrong`; no label is empty."""

NAMES_MAX = 2000
"""Classes that have scores of their own; later ones share one entry. Labels may hold anything, and the scores are one record."""

OTHERS = "…"
"""Stands for the classes beyond."""

CELLS_MAX = 5000
"""Different confusions that are counted by class; further mistakes count for the true class only. Writing 20,000 takes 20 ms."""

_SQRT_HALF = 0.7071067811865476
_LN2 = 0.6931471805599453


def log(x: float) -> float:
    """Return the natural logarithm of x > 0 from basic operations only: the same bits on every machine.

    The series of atanh on the mantissa; relative error below 1e-15 away from 1.

    >>> log(0.25) == 2 * log(0.5), log(1.0)
    (True, 0.0)
    """
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa, exponent = mantissa * 2, exponent - 1
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    total = 0.0
    for power in range(21, 0, -2):
        total = total * square + 1.0 / power
    return exponent * _LN2 + 2 * s * total


def score(true: str | None, served: Served) -> Score:
    """Return how the served prediction fares against the label `true`, or if that is None against the verdict that it is wrong.

    A class that the prediction does not list gets an equal share of the probability that the listed ones leave. A `wrong` tells that
    the truth is any class but the one that was served: its loss is that of their probability together.
    Probabilities are clipped to 1e-7 … 1.

    >>> from schemas.records import ModelVersion
    >>> score("b", Served(label="a", proba={"a": 0.5}, classes=3, model=ModelVersion(line="base", seq=1)))
    Score(correct=False, log_loss=1.3862943611198906)
    >>> score(None, Served(label="a", proba={"a": 0.75}, classes=3, model=ModelVersion(line="base", seq=1)))
    Score(correct=False, log_loss=1.3862943611198906)
    """
    if true is None:
        return Score(correct=False, log_loss=_loss(1.0 - served.proba.get(served.label or NOTHING, 0.0)))
    probability = served.proba.get(true)
    if probability is None:
        unlisted = served.classes - len(served.proba)
        probability = (1.0 - sum(served.proba.values())) / unlisted if unlisted > 0 else 0.0
    return Score(correct=true == served.label, log_loss=_loss(probability))


def _loss(probability: float) -> float:
    clipped = min(1.0, max(LEAST_PROBABILITY, probability))
    return -log(clipped) if clipped < 1.0 else 0.0


def scored(entry: LabelEntry | VerdictEntry) -> Served | None:
    """Return the prediction that the entry scores, if it scores one.

    An event is scored by its first label or verdict or not at all: a correction scores nothing, nor does a label after a `wrong`, nor
    a label of a text on which nobody had asked the model.
    """
    if isinstance(entry, VerdictEntry):
        return entry.served
    return entry.served if entry.corrects is None and not entry.marked else None


def truth_in(entry: LabelEntry | VerdictEntry) -> str | None:
    """Return the entry's label, None for the verdict `wrong`."""
    return entry.label if isinstance(entry, LabelEntry) else None


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """One scored label; `true` is `NOTHING` for a verdict `wrong`, `predicted` where there was no prediction."""

    true: str
    predicted: str
    weight: float
    log_loss: float


_Weights = defaultdict[str, float]


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stored evaluation: sums over all labels, the confusion matrix as (true, predicted, weight), the outcomes in the window."""

    window: int
    labels: int
    weight: float
    loss: float
    cells: list[tuple[str, str, float]]
    recent: list[Outcome]


class Prequential:
    """Scores of the served predictions over all labels and over the last `window` labels; a verdict `wrong` counts as one.

    Everything is a function of the outcomes in their order, so that an evaluation that went through `to_dict` and
    `from_dict` goes on exactly as one that did not.

    >>> from schemas.records import ModelVersion
    >>> quality = Prequential(window=2)
    >>> served = Served(label="a", proba={"a": 0.5, "b": 0.5}, classes=2, model=ModelVersion(line="base", seq=1))
    >>> for true in "baa":
    ...     _ = quality.add(true, served, 1.0)
    >>> round(quality.overall().accuracy, 3), quality.scores_window().accuracy
    (0.667, 1.0)
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.labels = 0
        self._weight = 0.0
        self._loss = 0.0
        self._cells: dict[tuple[str, str], float] = {}
        self._names: set[str] = set()
        self._recent: deque[Outcome] = deque(maxlen=window)

    def add(self, true: str | None, served: Served, weight: float) -> Score:
        """Count the label `true`, or if that is None a `wrong`, for the prediction `served`, and return the prediction's score."""
        result = score(true, served)
        outcome = Outcome(true or NOTHING, served.label or NOTHING, weight, result.log_loss)
        self.labels += 1
        self._weight += weight
        self._loss += weight * result.log_loss
        cell = self._cell(outcome.true, outcome.predicted)
        self._cells[cell] = self._cells.get(cell, 0.0) + weight
        self._names.update(cell)
        self._recent.append(outcome)
        return result

    def _cell(self, true: str, predicted: str) -> tuple[str, str]:
        """Return where an outcome is counted: in its own cell, as long as there are not too many; a mistake never as right."""
        if (true, predicted) in self._cells:
            return true, predicted
        full = len(self._names) >= NAMES_MAX
        counted = OTHERS if full and true not in self._names and true != NOTHING else true
        if true == predicted:
            return counted, counted
        if len(self._cells) >= CELLS_MAX or (full and predicted not in self._names):
            return counted, NOTHING
        return counted, predicted

    def overall(self) -> Scores:
        """Return the scores over all labels."""
        return _scores(self.labels, self._cells, self._weight, self._loss)

    def scores_window(self) -> Scores:
        """Return the scores over the last `window` labels."""
        cells: dict[tuple[str, str], float] = {}
        weight = loss = 0.0
        for outcome in self._recent:
            cell = (outcome.true, outcome.predicted)
            cells[cell] = cells.get(cell, 0.0) + outcome.weight
            weight += outcome.weight
            loss += outcome.weight * outcome.log_loss
        return _scores(len(self._recent), cells, weight, loss)

    def cells(self) -> dict[tuple[str, str], float]:
        """Return the confusion matrix over all labels: the weight of each pair of truth and prediction that occurred."""
        return dict(self._cells)

    def stored(self) -> Evaluation:
        """Return the evaluation as a record."""
        rows: dict[str, list[tuple[str, str, float]]] = {}  # one sort of many cells would hold up other threads for long
        for (true, predicted), weight in self._cells.items():
            rows.setdefault(true, []).append((true, predicted, weight))
        cells = [cell for true in sorted(rows) for cell in sorted(rows[true])]
        return Evaluation(self.window, self.labels, self._weight, self._loss, cells, list(self._recent))

    @classmethod
    def from_stored(cls, stored: Evaluation) -> Prequential:
        """Return the evaluation that `stored` described."""
        quality = cls(stored.window)
        quality.labels, quality._weight, quality._loss = stored.labels, stored.weight, stored.loss
        quality._cells = {(true, predicted): weight for true, predicted, weight in stored.cells}
        quality._names = {name for cell in quality._cells for name in cell}
        quality._recent.extend(stored.recent)
        return quality

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as JSON-able values."""
        result: dict[str, Any] = msgspec.to_builtins(self.stored())
        return result

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Prequential:
        """Return the evaluation that `to_dict` described.

        Raises:
            msgspec.ValidationError: if the values are of another shape.
        """
        return cls.from_stored(msgspec.convert(values, Evaluation))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prequential) and self.stored() == other.stored()

    __hash__ = None  # type: ignore[assignment]  # mutable


def _scores(labels: int, cells: dict[tuple[str, str], float], weight: float, loss: float) -> Scores:
    if not labels:
        return Scores(labels=0, accuracy=0.0, macro_f1=0.0, log_loss=0.0, per_class={})
    true, predicted, hits = _sums(cells)
    per_class = {name: _class_quality(hits[name], true[name], predicted[name]) for name in sorted({*true, *predicted}) if name != NOTHING}
    return Scores(
        labels=labels,
        accuracy=sum(hits[name] for name in per_class) / weight,
        macro_f1=sum(q.f1 for q in per_class.values()) / len(per_class),
        log_loss=loss / weight,
        per_class=per_class,
    )


def _sums(cells: dict[tuple[str, str], float]) -> tuple[_Weights, _Weights, _Weights]:
    """Return the weights of each class as truth, as prediction, and as both.

    The cells are added in their order by name, so that float sums do not depend on history. River's ConfusionMatrix has these sums,
    but importing its metrics takes 1.8 s (they bring scipy.stats), which a TaskManager would pay after each crash.
    """
    true, predicted, hits = defaultdict[str, float](float), defaultdict[str, float](float), defaultdict[str, float](float)
    for (was, said), weight in sorted(cells.items()):
        true[was] += weight
        predicted[said] += weight
        if was == said:
            hits[was] += weight
    return true, predicted, hits


def _class_quality(hits: float, support: float, predicted: float) -> ClassQuality:
    precision = hits / predicted if predicted else 0.0
    recall = hits / support if support else 0.0
    f1 = 2 * hits / (support + predicted) if hits else 0.0
    return ClassQuality(precision=precision, recall=recall, f1=f1, support=support)
