"""The gate: champion and challenger predict and learn the same labels after the training cut; only a better challenger may pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from scipy.stats import binomtest, ttest_rel

from batch_model.cases import Case, examine
from batch_model.data import Taught
from batch_model.outcome import Compared
from online_model.frozen import answer
from online_model.models import TextModel
from online_model.prequential import Prequential
from schemas.manifest import CaseResult, Gate
from schemas.records import Scores, Served
from schemas.refresh_settings import RefreshSettings

_TOLD_EVERY = 100

Progress = Callable[[int], None]
"""Is told how many labels are done."""


class Comparison(msgspec.Struct, frozen=True):
    """What champion and challenger said of the same labels, in order, each before it learned them.

    Attributes:
        labels: each label that was scored, with both answers.
        champion: the champion's scores over them.
        challenger: the challenger's.
        losses: the log losses of both over the labels, in nats: champion, challenger.
    """

    labels: list[Compared]
    champion: Scores
    challenger: Scores
    losses: tuple[list[float], list[float]]

    @property
    def only_champion(self) -> int:
        """How many labels the champion alone got right."""
        return sum(one.champion == one.true != one.challenger for one in self.labels)

    @property
    def only_challenger(self) -> int:
        """How many labels the challenger alone got right."""
        return sum(one.challenger == one.true != one.champion for one in self.labels)


def compare(champion: TextModel, challenger: TextModel, labels: Sequence[Taught], *, progress: Progress = lambda _: None) -> Comparison:
    """Let both predict each label, then learn it; both stand at the training cut, and are changed.

    A correction teaches and scores nothing, as in the jobs. Every other label counts once, whatever its weight.
    """
    said: list[Compared] = []
    scores = Prequential(window=1), Prequential(window=1)
    losses: tuple[list[float], list[float]] = ([], [])
    for number, one in enumerate(labels, 1):
        if not one.correction:
            champions, challengers = answer(champion, one.row.text), answer(challenger, one.row.text)
            for quality, lost, served in zip(scores, losses, (champions, challengers), strict=True):
                lost.append(quality.add(one.row.label, served, 1.0).log_loss)
            said.append(_compared(one, champions, challengers))
        for model in (champion, challenger):
            model.learn_one(one.row.text, one.row.label, one.row.weight)
        if number % _TOLD_EVERY == 0:
            progress(number)
    return Comparison(said, scores[0].overall(), scores[1].overall(), losses)


def _compared(one: Taught, champion: Served, challenger: Served) -> Compared:
    return Compared(
        text=one.row.text,
        true=one.row.label,
        champion=champion.label,
        champion_confidence=next(iter(champion.proba.values()), 0.0),
        challenger=challenger.label,
        challenger_confidence=next(iter(challenger.proba.values()), 0.0),
    )


def mcnemar(only_champion: int, only_challenger: int) -> float:
    """Return how probable so many or more wins of the challenger are, if neither is better: McNemar's exact test, one-sided.

    McNemar, Q. (1947), Psychometrika 12: 153–157; exact by the binomial distribution of the labels on which the two differ.

    >>> round(mcnemar(1, 9), 4), mcnemar(0, 0)
    (0.0107, 1.0)
    """
    differ = only_champion + only_challenger
    return float(binomtest(only_challenger, differ, 0.5, alternative="greater").pvalue) if differ else 1.0


def paired_t(champion: Sequence[float], challenger: Sequence[float]) -> float:
    """Return how probable it is that the challenger loses so much less log loss by chance: the paired t-test, one-sided.

    Student (1908), Biometrika 6: 1–25. It sees how sure both were of each label, so it tells two models apart by fewer labels than
    counting who was right does.

    >>> round(paired_t([1.0, 2.0, 1.5, 1.0], [0.5, 1.0, 1.0, 0.75]), 4), paired_t([1.0], [0.5]), paired_t([1.0, 1.0], [1.0, 1.0])
    (0.0187, 1.0, 1.0)
    """
    gains = np.subtract(champion, challenger)
    if gains.size < 2 or not np.ptp(gains):
        return 1.0
    return float(ttest_rel(champion, challenger, alternative="greater").pvalue)


def decide(comparison: Comparison, champion_line: str, cases: Sequence[CaseResult], settings: RefreshSettings) -> Gate:
    """Return what the gate says, with every reason, also those that spoke for the challenger."""
    only_champion, only_challenger = comparison.only_champion, comparison.only_challenger
    p_value, p_log_loss = mcnemar(only_champion, only_challenger), paired_t(*comparison.losses)
    fallen = _fallen(comparison, settings)
    checks = [
        _better(comparison, settings.gate_margin),
        _supported(only_champion, only_challenger, (p_value, p_log_loss), settings.gate_error),
        *_classes(comparison, fallen, settings),
        *_cases(cases),
    ]
    return Gate(
        passed=all(good for good, _ in checks),
        reasons=[reason for _, reason in sorted(checks, key=lambda check: check[0])] + [_beside(comparison)],
        champion_line=champion_line,
        labels=len(comparison.labels),
        champion=comparison.champion,
        challenger=comparison.challenger,
        only_champion=only_champion,
        only_challenger=only_challenger,
        p_value=p_value,
        p_log_loss=p_log_loss,
        fallen=list(fallen),
        cases=list(cases),
    )


def pass_gate(
    champion: TextModel,
    champion_line: str,
    challenger: TextModel,
    labels: Sequence[Taught],
    cases: Sequence[Case],
    settings: RefreshSettings,
    *,
    progress: Progress = lambda _: None,
) -> tuple[Gate, Comparison]:
    """Compare the two on the labels after the cut, examine the challenger by the cases, and return the verdict and what it rests on.

    The cases are put to the challenger after it has learned the labels, as it would begin to serve.
    """
    comparison = compare(champion, challenger, labels, progress=progress)
    return decide(comparison, champion_line, examine(challenger, cases), settings), comparison


_Check = tuple[bool, str]
"""Whether a condition is met, and a sentence about it."""


def _better(comparison: Comparison, margin: float) -> _Check:
    labels, gain = len(comparison.labels), comparison.challenger.accuracy - comparison.champion.accuracy
    shares = f"{_percent(comparison.challenger.accuracy)} of {labels:,} labels right, the champion {_percent(comparison.champion.accuracy)}"
    # The tolerance keeps the rounding of shares from deciding.
    good = gain * labels > 0 and gain * labels >= margin * labels - 1e-6
    return good, f"The challenger got {shares}: {_points(gain)}, where at least {_points(margin)} are asked for."


def _supported(only_champion: int, only_challenger: int, p_values: tuple[float, float], error: float) -> _Check:
    """One of two tests must speak for the challenger; each may err half as often, so that both together keep to `error`."""
    by_count, by_loss = p_values
    said = f"{only_challenger:,} labels only the challenger got right, {only_champion:,} only the champion"
    chance = f"p = {by_count:.2g} by chance (McNemar's exact test), of its log loss p = {by_loss:.2g} (paired t-test)"
    good = min(p_values) <= error / 2
    return good, f"{said}: {chance}; {'one is' if good else 'neither is'} within the {error / 2:g} that each is allowed."


def _fallen(comparison: Comparison, settings: RefreshSettings) -> dict[str, float]:
    """Return the classes that fell by more than is allowed, unless chance does as much to so few labels often enough, with its p."""
    found = {}
    for name, before in comparison.champion.per_class.items():
        after = comparison.challenger.per_class.get(name)
        if before.support < settings.gate_class_support or after is None or before.f1 - after.f1 <= settings.gate_class_fall:
            continue
        p_value = _fall_by_chance(comparison, name)
        if p_value <= settings.gate_class_error:
            found[name] = p_value
    return found


def _classes(comparison: Comparison, fallen: dict[str, float], settings: RefreshSettings) -> list[_Check]:
    least = _points(settings.gate_class_fall)
    if not fallen:
        limits = f"by more than {least} of F1 and more than chance explains"
        return [(True, f"No class with at least {settings.gate_class_support} labels falls {limits}.")]
    checks = []
    for name, p_value in fallen.items():
        before, after = comparison.champion.per_class[name], comparison.challenger.per_class[name]
        figures = f"from {_percent(before.f1)} to {_percent(after.f1)} ({before.support:,.0f} labels, p = {p_value:.2g})"
        checks.append((False, f"The F1 of class {name!r} falls {figures}: by more than {least}."))
    return checks


def _fall_by_chance(comparison: Comparison, name: str) -> float:
    """Return McNemar's p for the champion, on the labels that are of this class, or that one of the two took for it."""
    concerned = [one for one in comparison.labels if name in (one.true, one.champion, one.challenger)]
    only_champion = sum(one.champion == one.true != one.challenger for one in concerned)
    only_challenger = sum(one.challenger == one.true != one.champion for one in concerned)
    return mcnemar(only_challenger, only_champion)


def _cases(results: Sequence[CaseResult]) -> list[_Check]:
    failed = [
        (False, f"Behavioural case {one.text[:100]!r}: {_wanted(one)}, and it said {one.predicted!r}.") for one in results if not one.passed
    ]
    return failed or ([(True, f"All {len(results)} behavioural cases are met.")] if results else [])


def _wanted(result: CaseResult) -> str:
    return f"{result.required!r} is required" if result.required is not None else f"{result.forbidden!r} is forbidden"


def _beside(comparison: Comparison) -> str:
    one, two = comparison.champion, comparison.challenger
    f1 = f"Macro-F1 {_percent(one.macro_f1)} to {_percent(two.macro_f1)}"
    return f"{f1}, log loss {one.log_loss:.3f} to {two.log_loss:.3f}, champion to challenger."


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
