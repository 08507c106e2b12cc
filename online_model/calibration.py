"""Calibration learned online: logits to probabilities that mean what they say.

Two corrections, both learned from every label, before the model learns it, by Newton steps on the log loss that forget:

- a scale for all logits (the inverse of a temperature; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017);
- what the scale leaves: a curve over the confidence, piecewise linear between 11 knots, that is added to the best class's log-odds.
  It counts labels of a class that the model has not seen as well, so that confidence falls while new classes keep coming.

The best class stays the best, and equals stay equals. The state is one array of `STATE_SIZE` float64. Only basic operations are used: the
bytes do not depend on the CPU.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from online_model.compiled import compiled

Floats = npt.NDArray[np.float64]

KEEP = 0.998
"""What is left of a label's say after the next one: about 500 labels count."""

SCALE_PRIOR = 10.0
CURVE_PRIOR = 30.0
"""How much evidence (second derivative of the log loss) stands against the first labels, for the scale and for each knot."""

MOST_WEIGHT = 10.0
"""A label counts as so many at most: one alone must not decide."""

_INTERVALS = 10
_SCALE = 0
_EVIDENCE = 1
_CURVE = 2
_CURVE_EVIDENCE = _CURVE + _INTERVALS + 1
STATE_SIZE = _CURVE_EVIDENCE + _INTERVALS + 1

_LONGEST_STEP = 0.5
_LARGEST_GAP = 1e3
_LARGEST_VARIANCE = 100.0  # of the scaled logits: a label with absurd ones must not outweigh all later ones
_LOWEST_SCALE, _HIGHEST_SCALE = 0.01, 100.0
_HIGHEST_KNOT = 4.0
_AHEAD = 1.0 + 1e-9  # the best class stays so far ahead of the second: the rounding of a division cannot turn them round

_LOG2E = 1.4426950408889634
_LN2_HIGH = 6.93147180369123816490e-01  # fdlibm's split: k * high is exact for |k| < 2^20
_LN2_LOW = 1.90821492927058770002e-10
_LOWEST = -600.0  # e^-600 divided by any number of classes is no denormal float yet, which some CPUs flush to zero
_HALVES = np.array([2.0**-k for k in range(1023)], dtype=np.float64)
_TAYLOR = np.array([1.0 / math.factorial(k) for k in range(14)], dtype=np.float64)


def initial() -> Floats:
    """Return the state before the first label: probabilities are the softmax of the logits."""
    state = np.zeros(STATE_SIZE, dtype=np.float64)
    state[_SCALE] = 1.0
    state[_EVIDENCE] = SCALE_PRIOR
    state[_CURVE_EVIDENCE:] = CURVE_PRIOR
    return state


def is_possible(state: Floats) -> bool:
    """Whether `update` can have made such a state; another one must not reach the kernels."""
    curve, evidence = state[_CURVE:_CURVE_EVIDENCE], state[_CURVE_EVIDENCE:]
    learned = bool(state[_EVIDENCE] >= SCALE_PRIOR and (evidence >= CURVE_PRIOR).all())
    return learned and bool(_LOWEST_SCALE <= state[_SCALE] <= _HIGHEST_SCALE and (np.abs(curve) <= _HIGHEST_KNOT).all())


@compiled
def exp(x: float) -> float:
    """Return e^x for x <= 0; e^-600 below -600, and for what is no number: it selects an item of an array. Relative error below 1e-15."""
    x = min(0.0, max(_LOWEST, x))
    k = math.floor(x * _LOG2E + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = _TAYLOR[13]
    for i in range(12, -1, -1):
        total = total * r + _TAYLOR[i]
    return float(total * _HALVES[-int(k)])


@compiled
def _exp_any(x: float) -> float:
    return exp(x) if x <= 0.0 else 1.0 / exp(-x)


@compiled
def _bounded(x: float, limit: float) -> float:
    return min(limit, max(-limit, x))


@compiled
def _to_odds(scores: Floats, scale: float) -> tuple[int, float, float, bool]:
    """Turn scores into e^(scale * (score - highest)), in place.

    Returns: the place of the first of the best, the others' sum and largest, and whether another score equals the best.
    """
    best = 0
    tied = False
    for c in range(1, scores.size):
        if scores[c] > scores[best]:
            best = c
            tied = False
        elif scores[c] == scores[best]:
            tied = True
    highest = scores[best]
    for c in range(scores.size):
        scores[c] = exp(scale * (scores[c] - highest))
    others = 0.0
    second = 0.0
    for c in range(scores.size):
        if c != best:
            others += scores[c]
            second = max(second, scores[c])
    return best, others, second, tied


@compiled
def _place(confidence: float) -> tuple[int, float]:
    """Return the knot at or below a confidence, and how far it is from there to the next, 0 to 1."""
    place = confidence * _INTERVALS
    knot = min(int(place), _INTERVALS - 1)
    return knot, place - knot


@compiled
def _factor(state: Floats, knot: int, part: float) -> float:
    """Return by what the curve multiplies the odds of the best class."""
    return _exp_any((1.0 - part) * state[_CURVE + knot] + part * state[_CURVE + knot + 1])


@compiled
def calibrated(scores: Floats, state: Floats) -> Floats:
    """Turn logits into calibrated probabilities, in place; they sum to 1, and the first of the highest stays the highest.

    Args:
        scores: the logits of the classes, at least one.
        state: the calibrator, `STATE_SIZE` numbers.
    """
    best, others, second, tied = _to_odds(scores, state[_SCALE])
    odds = 1.0
    if scores.size > 1 and not tied:
        knot, part = _place(1.0 / (1.0 + others))
        odds = max(_factor(state, knot, part), second * _AHEAD)
    scores[best] = odds
    share = 1.0 / (odds + others)
    for c in range(scores.size):
        scores[c] *= share
    return scores


@compiled
def update(scores: Floats, target: int, weight: float, state: Floats) -> None:
    """Learn from a label, in place of `state`; to be called before the model learns it.

    Args:
        scores: the logits by the model that has not learned this label; they are not changed.
        target: the label's place in them; any other number if it is not among them.
        weight: the label's weight.
        state: the calibrator, `STATE_SIZE` numbers.
    """
    if scores.size < 2:
        return
    weight = min(weight, MOST_WEIGHT)
    odds = scores.copy()
    best, others, _, _ = _to_odds(odds, state[_SCALE])
    _update_curve(1.0 / (1.0 + others), best == target, weight, state)
    if 0 <= target < scores.size:
        _update_scale(scores, odds, 1.0 + others, target, weight, state)


@compiled
def _update_scale(scores: Floats, odds: Floats, total: float, target: int, weight: float, state: Floats) -> None:
    """One Newton step on the logarithm of the scale; the second derivative is the variance of the scaled logit."""
    mean = 0.0
    square = 0.0
    for c in range(scores.size):
        gap = _bounded(scores[c] - scores[target], _LARGEST_GAP)
        mean += odds[c] * gap
        square += odds[c] * gap * gap
    mean /= total
    scale = state[_SCALE]
    variance = min(_LARGEST_VARIANCE, scale * scale * max(0.0, square / total - mean * mean))
    state[_EVIDENCE] = SCALE_PRIOR + KEEP * (state[_EVIDENCE] - SCALE_PRIOR) + weight * variance
    step = _bounded(weight * scale * mean / state[_EVIDENCE], _LONGEST_STEP)
    state[_SCALE] = min(_HIGHEST_SCALE, max(_LOWEST_SCALE, scale * _exp_any(-step)))


@compiled
def _update_curve(confidence: float, right: bool, weight: float, state: Floats) -> None:
    """One Newton step on each of the two knots beside the confidence."""
    knot, part = _place(confidence)
    odds = _factor(state, knot, part) * confidence
    corrected = odds / (odds + (1.0 - confidence))
    error = corrected - (1.0 if right else 0.0)
    for k in range(_INTERVALS + 1):
        state[_CURVE_EVIDENCE + k] = CURVE_PRIOR + KEEP * (state[_CURVE_EVIDENCE + k] - CURVE_PRIOR)
    for k in range(2):
        share = weight * (part if k == 1 else 1.0 - part)
        at = _CURVE_EVIDENCE + knot + k
        state[at] += share * corrected * (1.0 - corrected)
        step = _bounded(share * error / state[at], _LONGEST_STEP)
        state[_CURVE + knot + k] = _bounded(state[_CURVE + knot + k] - step, _HIGHEST_KNOT)
