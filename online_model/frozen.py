"""A model that does not learn: what it says of texts, and how that fares against their labels."""

from __future__ import annotations

from collections.abc import Iterable

from online_model.models import TextModel
from online_model.prequential import Prequential
from schemas.records import ModelVersion, Scores, Served

TOP = 500
"""Classes that a prediction lists, so that the log loss is of what the model says, not of a rest."""

UNSERVED = ModelVersion(line="unserved", seq=0)


def answer(model: TextModel, text: str, *, top: int = TOP, version: ModelVersion = UNSERVED) -> Served:
    """Return what the model says of a text, with its `top` most probable classes."""
    proba = model.predict_top(text, top)
    return Served(label=next(iter(proba), None), proba=proba, classes=len(model.classes), model=version)


def score_frozen(model: TextModel, labelled: Iterable[tuple[str, str]]) -> Scores:
    """Return how the model, which learns nothing, fares on texts with their labels; each counts once."""
    quality = Prequential(window=1)
    for text, label in labelled:
        quality.add(label, answer(model, text), 1.0)
    return quality.overall()
