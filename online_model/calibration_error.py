"""How far confidences are from what comes true: reliability bins, the expected calibration error, and what chance alone would give.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017, with equal-width bins on the probability of the
predicted class.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

BINS = 15
SIMULATIONS = 1000

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Reliability(msgspec.Struct, frozen=True):
    """The bins of equal width on the confidence 0 … 1: for each the number of predictions, and the sums of confidences and of hits."""

    counts: Floats
    confidences: Floats
    hits: Floats

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy, weighted by the predictions in a bin."""
        return float(np.abs(self.confidences - self.hits).sum() / self.counts.sum()) if self.counts.sum() else 0.0


def reliability(confidences: Floats, correct: Flags) -> Reliability:
    """Return the bins.

    Args:
        confidences: of each prediction, the probability of the class predicted.
        correct: whether it came true.

    >>> reliability(np.array([0.75, 0.75, 0.5]), np.array([True, False, True])).ece
    0.3333333333333333
    """
    bins = _bins(confidences)
    return Reliability(
        counts=_sums(bins, np.ones(bins.size)),
        confidences=_sums(bins, confidences),
        hits=_sums(bins, correct.astype(np.float64)),
    )


def calibrated_ece(confidences: Floats, random: np.random.Generator, share: float = 0.95) -> float:
    """Return the ECE that a perfectly calibrated model with these confidences stays below with probability `share`, by simulation.

    A few hundred predictions never fit their bins exactly, however honest each confidence is: an ECE below this shows no fault.

    Args:
        confidences: of each prediction.
        random: where chance comes from.
        share: which quantile of the simulated errors.
    """
    if not confidences.size:
        return 0.0
    bins = _bins(confidences)
    expected = _sums(bins, confidences)
    errors = np.empty(SIMULATIONS)
    for i in range(SIMULATIONS):
        hits = np.bincount(bins[random.random(confidences.size) < confidences], minlength=BINS)
        errors[i] = np.abs(expected - hits).sum() / confidences.size
    return float(np.quantile(errors, share))


def _bins(confidences: Floats) -> npt.NDArray[np.int64]:
    return np.clip((confidences * BINS).astype(np.int64), 0, BINS - 1)


def _sums(bins: npt.NDArray[np.int64], values: Floats) -> Floats:
    return np.asarray(np.bincount(bins, weights=values, minlength=BINS), dtype=np.float64)
