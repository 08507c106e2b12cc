"""The model's entry points for Python: probabilities, the most probable classes, and a label learned.

Each is one call, since the workspace belongs to the whole process: what a kernel leaves there may be gone at the next one.
"""

from __future__ import annotations

import math

import numpy as np

from online_model import blocks, calibration, features, scoring, tokens
from online_model.compiled import compiled
from online_model.features import COUNT, NAMED, Features, add_all, add_bias
from online_model.scoring import BITS, CLASSES, VERSION, WIDTH, Model, score_listed, score_text
from online_model.tokens import tokenise

SMOOTHING = 0.02
"""Share of a label that is spread over all classes (Szegedy et al., "Rethinking the Inception Architecture", 2016)."""

SURE = 0.7
"""Probability from which on the only class is not learned."""

LEAST_ERROR = 0.003
"""Errors below it are not learned: what is right stays, and with many classes a label touches few."""

_SMALLEST_STEP = 1e-9  # smaller ones are zero: their squares would be denormal floats, which some CPUs flush to zero
_LARGEST_SUM = 3e38  # of squares, in float32
_EPSILON = 1e-3


@compiled
def predict(model_at: blocks.Directory, work_at: blocks.Directory, data: bytes) -> None:
    """Write the probabilities of the classes for the UTF-8 text `data` to the model's scores."""
    model = scoring.opened(model_at)
    score_text(model, tokens.opened(work_at), features.opened(work_at), data)
    _calibrate(model)


@compiled
def predict_named(model_at: blocks.Directory, work_at: blocks.Directory, rows: blocks.Ints, values: blocks.Floats) -> None:
    """Write the probabilities of the classes for features given by row and value to the model's scores."""
    model, listed = scoring.opened(model_at), features.opened(work_at)
    _list_named(model, listed, rows, values)
    score_listed(model, listed)
    _calibrate(model)


@compiled
def most_probable(model_at: blocks.Directory, order: blocks.Longs, proba: blocks.Doubles) -> int:
    """Write the most probable classes of the last prediction, most probable first, and their probabilities; return how many.

    Probabilities are rounded to 6 decimals. Of equal ones the class that appeared first comes first. The model's scores are used up.
    """
    scores, classes = blocks.doubles(model_at, scoring.SCORES), blocks.longs(model_at, 0)[CLASSES]
    kept = min(order.size, int(classes))
    for place in range(kept):
        best = 0
        for c in range(1, classes):
            if scores[c] > scores[best]:
                best = c
        order[place] = best
        proba[place] = math.floor(scores[best] * 1e6 + 0.5) / 1e6
        scores[best] = -1.0
    return kept


@compiled
def learn(model_at: blocks.Directory, work_at: blocks.Directory, data: bytes, target: int, weight: float, rate: float) -> None:
    """Learn that the UTF-8 text `data` belongs to class `target`."""
    model, found, listed = scoring.opened(model_at), tokens.opened(work_at), features.opened(work_at)
    tokenise(found, data)
    add_all(found, model.info[BITS], listed)
    _learn_listed(model, listed, target, weight, rate)


@compiled
def learn_named(
    model_at: blocks.Directory,
    work_at: blocks.Directory,
    rows: blocks.Ints,
    values: blocks.Floats,
    target: int,
    weight: float,
    rate: float,
) -> None:
    """Learn that features given by row and value belong to class `target`."""
    model, listed = scoring.opened(model_at), features.opened(work_at)
    _list_named(model, listed, rows, values)
    _learn_listed(model, listed, target, weight, rate)


@compiled
def listed(
    model_at: blocks.Directory, work_at: blocks.Directory, data: bytes
) -> tuple[blocks.Ints, blocks.Floats, blocks.Ints, blocks.Ints, blocks.Ints, blocks.Ints]:
    """Return rows, values, kinds, starts and ends of the features of the UTF-8 text `data`, and its folded code points."""
    found, all_of_it = tokens.opened(work_at), features.opened(work_at)
    tokenise(found, data)
    add_all(found, blocks.longs(model_at, 0)[BITS], all_of_it)
    shape = (all_of_it.tally[COUNT],)
    rows, values, kinds = (
        blocks.array_at(all_of_it.rows, shape).copy(),
        blocks.array_at(all_of_it.values, shape).copy(),
        blocks.array_at(all_of_it.kinds, shape).copy(),
    )
    starts, ends = blocks.array_at(all_of_it.starts, shape).copy(), blocks.array_at(all_of_it.ends, shape).copy()
    return rows, values, kinds, starts, ends, blocks.array_at(found.points, (found.tally[tokens.N_POINTS],)).copy()


@compiled
def _calibrate(model: Model) -> None:
    scores, state = _views(model)
    calibration.calibrated(scores, state)


@compiled
def _views(model: Model) -> tuple[blocks.Doubles, blocks.Doubles]:
    """Return the scores of the classes and the calibrator's state as arrays, which have a size."""
    return blocks.array_at(model.scores, (model.info[CLASSES],)), blocks.array_at(model.calibrator, (calibration.STATE_SIZE,))


@compiled
def _list_named(model: Model, listed: Features, rows: blocks.Ints, values: blocks.Floats) -> None:
    add_bias(model.info[BITS], listed)
    for i in range(min(rows.size, features.MOST - 1)):
        listed.rows[i + 1], listed.values[i + 1], listed.kinds[i + 1] = rows[i], values[i], NAMED
        listed.tally[COUNT] += 1


@compiled
def _learn_listed(model: Model, listed: Features, target: int, weight: float, rate: float) -> None:
    """Teach the calibrator, then the table.

    One step of AdaGrad (Duchi, Hazan, Singer 2011) on the weighted log loss, with one sum of squares for each row.
    """
    classes = model.info[CLASSES]
    score_listed(model, listed)
    scores, state = _views(model)
    calibration.update(scores, target, weight, state)
    square = _errors(model, target, weight)
    model.info[VERSION] += 1
    if square > 0.0:
        _step(model, listed, square * 2.0 / max(classes, 2), rate)


@compiled
def _errors(model: Model, target: int, weight: float) -> float:
    """Write the weighted errors of the uncalibrated probabilities; return the sum of their squares.

    As long as there is one class, it stands against an unknown one with score 0: the first labels teach, too, but not beyond
    `SURE`, however many come.
    """
    scores, classes = model.scores, model.info[CLASSES]
    highest = scores[0] if classes > 1 else max(scores[0], 0.0)
    for c in range(1, classes):
        highest = max(highest, scores[c])
    total = 0.0 if classes > 1 else calibration.exp(-highest)
    for c in range(classes):
        scores[c] = calibration.exp(scores[c] - highest)
        total += scores[c]
    if classes == 1 and scores[0] > SURE * total:
        return 0.0
    square, spread = 0.0, SMOOTHING / classes
    for c in range(classes):
        error = scores[c] / total - spread - (1.0 - SMOOTHING if c == target else 0.0)
        error = 0.0 if abs(error) < LEAST_ERROR or abs(error * weight) < _SMALLEST_STEP else error * weight
        model.errors[c] = np.float32(error)
        square += error * error
    return square


@compiled
def _step(model: Model, listed: Features, square: float, rate: float) -> None:
    width = model.info[WIDTH]
    for i in range(listed.tally[COUNT]):
        row, value = np.int64(listed.rows[i]), np.float64(listed.values[i])
        total = np.float64(model.squares[row]) + value * value * square
        if total > _LARGEST_SUM:
            total = np.float64(_LARGEST_SUM)
        model.squares[row] = np.float32(total)
        step = np.float32(rate * value / math.sqrt(total + _EPSILON))
        start = row * width
        for c in range(width):
            model.table[start + c] -= step * model.errors[c]
