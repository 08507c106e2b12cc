"""A calibrator from predictions of texts that the model has not seen."""

from __future__ import annotations

import msgspec
import numpy as np

from batch_model.matrix import Doubles, Floats, Longs
from online_model import calibration


class Validation(msgspec.Struct, frozen=True):
    """What a model said of texts that it had not seen, in the order of their labels.

    Attributes:
        first: place of the first of these texts among the rows that it was trained on or measured with.
        true: their classes, as places in `classes`.
        predicted: the most probable ones.
        confidence: their calibrated probabilities, each by a calibrator that had seen the texts before.
        probability: the same of the true classes.
        classes: names of the classes.
    """

    first: int
    true: Longs
    predicted: Longs
    confidence: Doubles
    probability: Doubles
    classes: list[str]


def calibrated(scores: Doubles, targets: Longs, weights: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Learn a calibrator from logits, in order.

    Args:
        scores: logits, texts by classes, by a model that has not seen the texts.
        targets: classes.
        weights: of the labels.

    Returns: the calibrator's state; the probability of the most probable class, and of the true one, for each text, before its label.
    """
    state = calibration.initial()
    confidence, probability = np.empty(targets.size), np.empty(targets.size)
    for text, target in enumerate(targets.tolist()):
        found = calibration.calibrated(scores[text].copy(), state)
        confidence[text], probability[text] = found.max(), found[target]
        calibration.update(scores[text].copy(), target, float(weights[text]), state)
    return state, confidence, probability
