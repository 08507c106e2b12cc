"""The model's inner loops. Sums run in a fixed order in float64, and `exp` is our own, so that bytes do not depend on the CPU."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from online_model.compiled import compiled

Table = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint32]
Values = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # fdlibm's split: k * high is exact for |k| < 2^20
_LN2_LOW = 1.90821492927058770002e-10
_LOWEST = -700.0
_HALVES = np.array([2.0**-k for k in range(1023)], dtype=np.float64)
_SMALLEST_ERROR = 1e-9  # smaller ones are zero: their squares would be denormal floats, which some CPUs flush to zero
_EPSILON = np.float32(1e-3)


@compiled
def exp(x: float) -> float:
    """Return e^x for x <= 0, from basic operations only; 0 below -700. Relative error below 1e-15.

    Range reduction as in fdlibm's `e_exp.c`, then the Taylor series to the 13th power on |r| <= ln(2)/2.
    """
    if x < _LOWEST:
        return 0.0
    k = math.floor(x * _LOG2E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = 1.0
    for i in range(13, 0, -1):
        total = 1.0 + total * r / i
    if k > 0:
        return total
    return float(total * _HALVES[-int(k)])


@compiled
def probabilities(hashes: Hashes, values: Values, table: Table, classes: int) -> Floats:
    """Return the softmax over the first `classes` columns of the rows that the features select."""
    mask = table.shape[0] - 1
    scores = np.zeros(classes, np.float64)
    for i in range(hashes.size):
        row = np.int64(hashes[i]) & mask
        value = np.float64(values[i])
        for c in range(classes):
            scores[c] += value * np.float64(table[row, c])
    highest = scores[0]
    for c in range(1, classes):
        highest = max(highest, scores[c])
    total = 0.0
    for c in range(classes):
        scores[c] = exp(scores[c] - highest)
        total += scores[c]
    for c in range(classes):
        scores[c] /= total
    return scores


@compiled
def most_probable(hashes: Hashes, values: Values, table: Table, classes: int, top: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the `top` most probable classes, most probable first, and their probabilities rounded to 6 decimals.

    Of equal probabilities the class that appeared first comes first.
    """
    proba = probabilities(hashes, values, table, classes)
    kept = min(top, classes)
    order = np.empty(kept, np.int64)
    rounded = np.empty(kept, np.float64)
    for place in range(kept):
        best = 0
        for c in range(1, classes):
            if proba[c] > proba[best]:
                best = c
        order[place] = best
        rounded[place] = math.floor(proba[best] * 1e6 + 0.5) / 1e6
        proba[best] = -1.0
    return order, rounded


@compiled
def learn(
    hashes: Hashes,
    values: Values,
    table: Table,
    squares: Table,
    classes: int,
    target: int,
    weight: float,
    rate: float,
) -> None:
    """One AdaGrad step (Duchi, Hazan, Singer 2011) on the weighted log loss of class `target`, in place."""
    mask = table.shape[0] - 1
    errors = probabilities(hashes, values, table, classes)
    errors[target] -= 1.0
    steps = np.empty(classes, np.float32)
    for c in range(classes):
        error = errors[c] * weight
        steps[c] = np.float32(error) if abs(error) >= _SMALLEST_ERROR else np.float32(0.0)
    step = np.float32(rate)
    for i in range(hashes.size):
        row = np.int64(hashes[i]) & mask
        value = values[i]
        for c in range(classes):
            gradient = steps[c] * value
            squares[row, c] += gradient * gradient
            table[row, c] -= step * gradient / np.sqrt(squares[row, c] + _EPSILON)


@compiled
def touched_rows(table: Table, squares: Table, classes: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows that are not all zero, in ascending order."""
    rows = np.empty(table.shape[0], np.int64)
    count = 0
    for row in range(table.shape[0]):
        for c in range(classes):
            if table[row, c] != 0.0 or squares[row, c] != 0.0:
                rows[count] = row
                count += 1
                break
    return rows[:count].copy()
