"""Why a text got its label, as it is shown: what its words add to the score of the label. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.records import ModelVersion, Prediction
from store.writer import TEXT_SHOWN

if TYPE_CHECKING:
    # The engine is not imported before a model is loaded (see `store.live_replica`).
    from online_model.explanation import Explanation
    from online_model.replica import Replica

SHOWN = 100
"""Contributions that are listed; a long text has tens of thousands, and nearly all of the score is in the first."""


class ContributionView(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of the text adds to the logit. `kind` is bias, word, shape, pair or characters; the bias has no text."""

    kind: str
    text: str
    value: float


class ExplanationView(msgspec.Struct, frozen=True, kw_only=True):
    """What adds to the logit of `label`, the largest first. The sum, with `left_out_value` of the `left_out` smaller ones, is the logit.

    `model` explains: the one that serves now, or the line that had predicted as it is now. `same_model` says whether it is the very
    model that predicted; `whole_text` whether all of the text that the model had read was there.
    """

    label: str
    logit: float
    model: ModelVersion
    same_model: bool
    whole_text: bool
    contributions: list[ContributionView]
    left_out: int
    left_out_value: float


def explanation_of(replica: Replica, text: str, label: str | None) -> ExplanationView | None:
    """Return why the text would get the label now; None if there is none, or the model cannot explain."""
    found = None if label is None else replica.explain(text, label)
    return None if found is None else _view(*found, same_model=True, whole_text=True)


def explanation_of_prediction(replica: Replica, prediction: Prediction) -> ExplanationView | None:
    """Return why a prediction's text gets its label, by what has become of the model that predicted it; None as above."""
    if prediction.label is None:
        return None
    found = replica.explain(prediction.text, prediction.label, line=prediction.model.line)
    if found is None:
        return None
    return _view(*found, same_model=found[0] == prediction.model, whole_text=len(prediction.text) <= TEXT_SHOWN)


def _view(model: ModelVersion, explanation: Explanation, *, same_model: bool, whole_text: bool) -> ExplanationView:
    shown, others = explanation.contributions[:SHOWN], explanation.contributions[SHOWN:]
    return ExplanationView(
        label=explanation.label,
        logit=explanation.logit,
        model=model,
        same_model=same_model,
        whole_text=whole_text,
        contributions=[ContributionView(kind=c.kind.value, text=c.text, value=c.value) for c in shown],
        left_out=len(others),
        left_out_value=sum(c.value for c in others),
    )
