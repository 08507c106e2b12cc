"""What the last part of the rows says of the candidates."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from batch_model.blending import Blend, best_blend, blends, combined
from batch_model.calibrating import Validation, calibrated
from batch_model.candidates import Candidate, Member
from batch_model.matrix import Doubles
from batch_model.training import Samples
from online_model import calibration

_FEWEST = 20
"""Rows of the validation part: with fewer there is none."""


class Decision(msgspec.Struct, frozen=True):
    """What was decided.

    Attributes:
        blend: the winner.
        tried: all that competed.
        calibrator: state of a calibrator that has seen what the winner said of the validation part.
        validation: what the winner said; None without a validation part.
    """

    blend: Blend
    tried: list[Blend]
    calibrator: Doubles
    validation: Validation | None


def first_of_validation(rows: int, share: float) -> int:
    """Return the first row of the validation part; 0 if it would be too small to decide anything."""
    part = int(rows * share)
    return rows - part if part >= _FEWEST else 0


def decided(samples: Samples, classes: list[str], tried: list[Member], cut: int) -> Decision:
    """Return which candidate, or the mean of all, is best on the rows from `cut` on, and what calibrates it."""
    rest = samples.matrix.part(cut, len(samples.matrix))
    targets, weights = samples.targets[cut:], samples.weights[cut:]
    scores = {member.candidate.name: rest.scores(member.table) for member in tried}
    found = blends(scores, targets, weights)
    best = best_blend(found)
    logits = combined(scores, best.shares)
    state, confidence, probability = calibrated(logits, targets, weights)
    return Decision(best, found, state, Validation(cut, targets, logits.argmax(1), confidence, probability, classes))


def undecided(candidates: Sequence[Candidate]) -> Decision:
    """Return the mean of all candidates: what is taken when there are too few rows to compare them."""
    shares = {candidate.name: 1.0 / len(candidates) for candidate in candidates}
    return Decision(Blend("mean", shares, float("nan"), float("nan")), [], calibration.initial(), None)
