"""What is measured on validation texts."""

from __future__ import annotations

import numpy as np

from batch_model.matrix import Doubles, Floats, Longs

_LOWEST, _HIGHEST = 0.02, 50.0


def log_loss(scores: Doubles, targets: Longs, weights: Floats) -> float:
    """Return the weighted mean of the log losses of logits (texts by classes); 0 if no text has a weight."""
    losses = log_sums(scores) - scores[np.arange(targets.size), targets]
    return float((losses * weights).sum() / max(float(weights.sum(dtype=np.float64)), 1e-9))


def accuracy(scores: Doubles, targets: Longs) -> float:
    """Return the share of texts whose highest logit is that of their class."""
    return float((scores.argmax(1) == targets).mean())


def log_sums(scores: Doubles) -> Doubles:
    """Return the logarithm of the sum of e to the logits, for each text."""
    highest = scores.max(1)
    found: Doubles = highest + np.log(np.exp(scores - highest[:, None]).sum(1))
    return found


def softmax(scores: Doubles) -> Doubles:
    """Return the probabilities of logits."""
    found: Doubles = np.exp(scores - log_sums(scores)[:, None])
    return found


def fitted_scale(scores: Doubles, targets: Longs, weights: Floats) -> float:
    """Return by what logits must be multiplied so that their weighted log loss is lowest: one over the temperature (Guo et al., ICML 2017).

    The loss is convex in the scale; its minimum is found by golden section over the logarithm. One text that counts as
    wrong stands against scales without bound.
    """
    low, high, golden = np.log(_LOWEST), np.log(_HIGHEST), (np.sqrt(5.0) - 1.0) / 2.0
    total = float(weights.sum(dtype=np.float64))
    spread = float((scores.max(1) - scores.mean(1)).mean()) if scores.size else 0.0

    def loss(log_scale: float) -> float:
        scale = float(np.exp(log_scale))
        return log_loss(scores * scale, targets, weights) * total + float(np.log1p(np.exp(scale * spread)))

    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(40):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2.0))
