"""Candidates alone and together: which of them, or which mean of their tables, the validation part prefers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from batch_model.matrix import Doubles, Floats, Longs
from batch_model.metrics import accuracy, fitted_scale, log_loss

MEAN = "mean"


class Blend(msgspec.Struct, frozen=True):
    """A weighted sum of candidates' tables.

    Attributes:
        name: the candidate's, or `mean`.
        shares: what each candidate's table is multiplied by. They are scaled so that the probabilities of the sum's logits fit best: the
            online learner, whose steps are the errors of the probabilities, takes over without a jump.
        accuracy: on the validation part, each text counting the same.
        log_loss: there, by the weights of the labels.
    """

    name: str
    shares: dict[str, float]
    accuracy: float
    log_loss: float


def blends(scores: Mapping[str, Doubles], targets: Longs, weights: Floats) -> list[Blend]:
    """Return each candidate alone, and, if there are several, the mean of all.

    Args:
        scores: logits of the validation texts by each candidate, texts by classes.
        targets: their classes.
        weights: of their labels.
    """
    scales = {name: fitted_scale(logits, targets, weights) for name, logits in scores.items()}
    found = [_blend(name, {name: scale}, scores, targets, weights) for name, scale in scales.items()]
    if len(scores) > 1:
        shares = {name: scale / len(scales) for name, scale in scales.items()}
        together = fitted_scale(combined(scores, shares), targets, weights)
        found.append(_blend(MEAN, {name: share * together for name, share in shares.items()}, scores, targets, weights))
    return found


def best_blend(found: list[Blend]) -> Blend:
    """Return the blend with the lowest log loss; of equal ones the last."""
    return min(reversed(found), key=lambda blend: blend.log_loss)


def combined(parts: Mapping[str, npt.NDArray[Any]], shares: Mapping[str, float]) -> Doubles:
    """Return the sum of the parts that have a share, in float64."""
    found: Doubles = sum((parts[name] * np.float64(share) for name, share in shares.items()), np.zeros(()))
    return found


def _blend(name: str, shares: dict[str, float], scores: Mapping[str, Doubles], targets: Longs, weights: Floats) -> Blend:
    logits = combined(scores, shares)
    return Blend(name, shares, accuracy(logits, targets), log_loss(logits, targets, weights))
