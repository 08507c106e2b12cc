"""Trials: a watched line against the champion, both predicting each label before they learn it, and what decides between them."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from online_model.models import TextModel
from online_model.prequential import LEAST_PROBABILITY, log
from schemas.log import Metrics
from schemas.records import Role, Score, Served, Trial
from schemas.settings import Settings

_NEGLIGIBLE = 1e-17


class TrialRules(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a trial; see the settings `trial_…`."""

    least_labels: int = 50
    most_labels: int = 5000
    error: float = 0.01
    margin: float = 0.0

    @classmethod
    def configured(cls, settings: Settings) -> TrialRules:
        """Return the rules that the settings name."""
        return cls(
            least_labels=settings.trial_least_labels,
            most_labels=settings.trial_most_labels,
            error=settings.trial_error,
            margin=settings.trial_margin,
        )


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial has ended: `line` is promoted, comes back (the former one), or is watched no more."""

    line: str
    action: Literal["promote", "rollback", "drop"]
    why: str
    metrics: Metrics


def prequential_score(model: TextModel, text: str, label: str) -> Score:
    """Return how the model's prediction for `text` fares against `label`: natural-log loss of the label's probability, ≤ 16.2 nats."""
    proba = model.predict_proba_one(text)
    best = max(proba, key=proba.__getitem__, default=None)
    clipped = min(1.0, max(LEAST_PROBABILITY, proba.get(label, 0.0)))
    return Score(correct=best == label, log_loss=-log(clipped) if clipped < 1.0 else 0.0)


def compared(trial: Trial, champion: Score, line: Score) -> Trial:
    """Return the trial with one label more, for which both have predicted."""
    return msgspec.structs.replace(
        trial,
        labels=trial.labels + 1,
        champion_correct=trial.champion_correct + champion.correct,
        line_correct=trial.line_correct + line.correct,
        only_champion=trial.only_champion + (champion.correct and not line.correct),
        only_line=trial.only_line + (line.correct and not champion.correct),
        champion_log_loss=trial.champion_log_loss + champion.log_loss,
        line_log_loss=trial.line_log_loss + line.log_loss,
    )


def with_outcome(trial: Trial, served: Served, *, correct: bool) -> Trial:
    """Return the trial with the outcome of what was served, if one of the two served it since the trial began."""
    if served.model.seq < trial.since_seq:
        return trial
    if served.model.line == trial.line:
        return msgspec.structs.replace(trial, served=trial.served + 1, served_correct=trial.served_correct + correct)
    if served.model.line == trial.champion:
        return msgspec.structs.replace(
            trial, champion_served=trial.champion_served + 1, champion_served_correct=trial.champion_served_correct + correct
        )
    return trial


def decide(trial: Trial, rules: TrialRules) -> Decision | None:
    """Return how the trial ends with its last label, or None if it goes on.

    The two are compared at `least_labels`, twice as many, four times … and at `most_labels`, by McNemar's exact test, one-sided:
    were both equally good, so many or more labels that only one got right would have a probability of p. At the k-th look (from
    0) that one is better if p ≤ error / ((k + 1)(k + 2)); these sum up to `error`, so over the whole trial a line that is not better
    is called better with at most that probability. It must lead by `margin` of all labels as well.
    """
    look = _look(trial.labels, rules)
    if look is None:
        return None
    allowed = rules.error / ((look + 1) * (look + 2))
    p_line = binomial_tail(trial.only_line, trial.only_line + trial.only_champion)
    lead = (trial.line_correct - trial.champion_correct) / trial.labels
    if p_line <= allowed and lead >= rules.margin:
        return _decision(trial, "rollback" if trial.role == "former" else "promote", "is better than", p_line, allowed)
    p_champion = binomial_tail(trial.only_champion, trial.only_line + trial.only_champion)
    if trial.role != "former" and p_champion <= allowed:
        return _decision(trial, "drop", "is worse than", p_champion, allowed)
    if trial.labels >= rules.most_labels:
        return _decision(trial, "drop", "has not become better than", p_line, allowed)
    return None


def _look(labels: int, rules: TrialRules) -> int | None:
    """Return the number of the look that is due after so many labels, None if none is."""
    look, due = 0, rules.least_labels
    while due < min(labels, rules.most_labels):
        look, due = look + 1, due * 2
    return look if labels == due or labels >= rules.most_labels else None


def _decision(trial: Trial, action: Literal["promote", "rollback", "drop"], verdict: str, p: float, allowed: float) -> Decision:
    labels = trial.labels
    metrics: Metrics = {
        "labels": float(labels),
        "accuracy": trial.line_correct / labels,
        "champion_accuracy": trial.champion_correct / labels,
        "only_line": float(trial.only_line),
        "only_champion": float(trial.only_champion),
        "log_loss": trial.line_log_loss / labels,
        "champion_log_loss": trial.champion_log_loss / labels,
        "p_value": p,
        "p_allowed": allowed,
    }
    why = (
        f"{trial.line} {verdict} {trial.champion}: of {labels} labels it alone got {trial.only_line} right, "
        f"{trial.champion} alone {trial.only_champion} (p = {p:.2g}, needed {allowed:.2g})"
    )
    return Decision(line=trial.line, action=action, why=why, metrics=metrics)


def binomial_tail(wins: int, games: int) -> float:
    """Return the probability of `wins` or more in `games` tosses of a fair coin.

    The largest term in logarithms, the rest by their ratios until they add nothing: relative error below 1e-9 up to a million.

    >>> binomial_tail(5, 5), binomial_tail(0, 0), round(binomial_tail(3, 4), 12)
    (0.03125, 1.0, 0.3125)
    """
    if wins <= 0:
        return 1.0
    if 2 * wins <= games:
        return 1.0 - binomial_tail(games - wins + 1, games)
    largest = math.lgamma(games + 1) - math.lgamma(wins + 1) - math.lgamma(games - wins + 1) - games * math.log(2)
    term = total = 1.0
    for i in range(wins, games):
        term *= (games - i) / (i + 1)
        total += term
        if term < _NEGLIGIBLE * total:
            break
    return min(1.0, math.exp(largest) * total)


def is_possible(trial: Trial) -> bool:
    """Say whether label by label this trial can have come about."""
    pairs = (
        (trial.champion_correct, trial.labels),
        (trial.line_correct, trial.labels),
        (trial.only_champion, trial.champion_correct),
        (trial.only_line, trial.line_correct),
        (trial.served_correct, trial.served),
        (trial.champion_served_correct, trial.champion_served),
    )
    both = trial.champion_correct - trial.only_champion == trial.line_correct - trial.only_line
    losses = (trial.champion_log_loss, trial.line_log_loss, trial.share)
    return both and all(0 <= few <= many for few, many in pairs) and all(math.isfinite(x) and x >= 0 for x in losses)


def new_trial(line: str, role: Role, champion: str, since_seq: int, share: float) -> Trial:
    """Return a trial that has compared nothing yet; only a line in role `split` has a share."""
    return Trial(line=line, role=role, champion=champion, since_seq=since_seq, share=share if role == "split" else 0.0)
