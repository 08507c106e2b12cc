"""What the report of a refresh says: its sentences, the rows of its tables, the coordinates of its curves."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from batch_model.outcome import Candidate, Outcome, calibration, confusion
from online_model.calibration_error import calibrated_ece
from online_model.charts import (
    FEW_CLASSES,
    Bar,
    ConfusionMap,
    Line,
    LineChart,
    Point,
    Tick,
    confusion_map,
    nice_steps,
    path_of,
    reliability_bars,
    rounded,
)
from schemas.manifest import Gate
from schemas.records import ClassQuality

CURVES_MAX = 8
"""As many candidates have curves as there are colours."""

CURVE_WIDTH, CURVE_HEIGHT = 420.0, 170.0
_NO_CURVE = {"seconds", "epoch"}
_NOTHING = ClassQuality(precision=0.0, recall=0.0, f1=0.0, support=0.0)

_HEADLINES = {
    "released": "Released: {line} serves",
    "shadow": "Watched: {line} runs as a shadow",
    "split": "On trial: {line} serves a share of the events",
    "dry run": "Dry run: {line} would be released",
    "kept": "Kept: {champion} goes on serving",
    "refused": "Refused: {champion} goes on serving",
    "trained": "Trained: {line}",
}


class ClassRow(msgspec.Struct, frozen=True):
    """How both models did on one class; `fell` if the gate says that it fell."""

    name: str
    support: float
    champion: ClassQuality
    challenger: ClassQuality
    change: float
    fell: bool


class ModelCalibration(msgspec.Struct, frozen=True):
    """The reliability diagram of a model, its calibration error, and what chance alone explains of it."""

    name: str
    number: int
    bars: list[Bar]
    ece: float
    by_chance: float


class NamedCurve(msgspec.Struct, frozen=True):
    """What was measured after each pass over the training rows, of several candidates."""

    name: str
    chart: LineChart


def percent(share: float, digits: int) -> str:
    r"""Return a share in per cent, of which a line's end does not cut the sign off.

    >>> percent(0.125, 1)
    '12.5\xa0%'
    """
    return f"{share:.{digits}%}".replace("%", "\xa0%")


def headline(outcome: Outcome) -> str:
    """Return what became of the refresh in a few words."""
    gate = outcome.manifest.gate
    return _HEADLINES[outcome.verdict].format(line=outcome.manifest.line, champion=gate.champion_line if gate else "the model before")


def paired_test(gate: Gate, error: float) -> str:
    """Return what the two paired tests say, in sentences; `error` is the probability of calling luck a win that the gate accepts."""
    apart = gate.only_champion + gate.only_challenger
    if not apart:
        return (
            f"On each of the {gate.labels:,} labels both were right or both wrong: they cannot be told apart. {_by_log_loss(gate, error)}"
        )
    counts = (
        f"The two differ on {apart:,} of {gate.labels:,} labels: the challenger alone was right on {gate.only_challenger:,}, the champion "
        f"alone on {gate.only_champion:,}."
    )
    if gate.only_challenger <= gate.only_champion:
        return f"{counts} So nothing speaks for the challenger."
    verdict = "more than luck" if gate.p_value <= error / 2 else "perhaps only luck"
    return (
        f"{counts} Of two equally good models one wins so clearly {_so_often(gate.p_value)} (McNemar's exact test, one-sided; "
        f"at most {percent(error / 2, 2)} would be enough): that is {verdict}. {_by_log_loss(gate, error)}"
    )


def _by_log_loss(gate: Gate, error: float) -> str:
    verdict = "more than luck" if gate.p_log_loss <= error / 2 else "no more than luck may bring"
    return f"Its log loss is lower by as much {_so_often(gate.p_log_loss)} (paired t-test, one-sided): {verdict}. One of the two is enough."


def _so_often(p_value: float) -> str:
    return "in fewer than 1 of 10,000 such comparisons" if p_value < 1e-4 else f"in {percent(p_value, 2)} of such comparisons"


def confusion_maps(outcome: Outcome) -> list[tuple[str, ConfusionMap]]:
    """Return the confusion matrices to show: both models' where there are few classes, else the challenger's alone."""
    challenger = confusion_map(confusion(outcome.compared, "challenger"))
    if not outcome.with_champion or len(challenger.names) > FEW_CLASSES:
        return [("challenger", challenger)]
    return [("champion", confusion_map(confusion(outcome.compared, "champion"))), ("challenger", challenger)]


def class_rows(outcome: Outcome) -> list[ClassRow]:
    """Return the classes of the gate, those that fell most first."""
    gate = outcome.manifest.gate
    if gate is None:
        return []
    rows = []
    for name in {*gate.champion.per_class, *gate.challenger.per_class}:
        before, after = gate.champion.per_class.get(name, _NOTHING), gate.challenger.per_class.get(name, _NOTHING)
        support = max(before.support, after.support)
        rows.append(ClassRow(name, support, before, after, after.f1 - before.f1, name in gate.fallen))
    return sorted(rows, key=lambda row: (not row.fell, row.change, row.name))


def calibrations(outcome: Outcome) -> list[ModelCalibration]:
    """Return the reliability of the models that predicted the gate's labels; chance is simulated with a fixed seed."""
    found = []
    for number, who in enumerate(("champion", "challenger")):
        if not outcome.compared or (who == "champion" and not outcome.with_champion):
            continue
        bins = calibration(outcome.compared, "champion" if who == "champion" else "challenger")
        confidences = np.array([getattr(one, f"{who}_confidence") for one in outcome.compared])
        chance = calibrated_ece(confidences, np.random.default_rng(0))
        found.append(ModelCalibration(who, number, reliability_bars(bins), bins.ece, chance))
    return found


def ranked(candidates: list[Candidate]) -> list[Candidate]:
    """Return the candidates, the best on the validation part first."""
    return sorted(candidates, key=lambda c: (not c.chosen, -c.validation.get("accuracy", 0.0), c.validation.get("log_loss", math.inf)))


def training_curves(candidates: list[Candidate]) -> list[NamedCurve]:
    """Return a chart for each measurement that some candidate has of at least two passes; lines are numbered as `candidates` are."""
    shown = candidates[:CURVES_MAX]
    names = dict.fromkeys(name for candidate in shown for epoch in candidate.epochs for name in epoch if name not in _NO_CURVE)
    return [NamedCurve(name.replace("_", " "), chart) for name in names if (chart := _chart(shown, name)) is not None]


def _chart(candidates: list[Candidate], name: str) -> LineChart | None:
    series = [[epoch[name] for epoch in c.epochs if math.isfinite(epoch.get(name, math.nan))] for c in candidates]
    longest = max(map(len, series))
    if longest < 2:
        return None
    low, high = min(v for values in series for v in values), max(v for values in series for v in values)
    margin = (high - low or abs(high) or 1.0) * 0.06
    low, high = low - margin, high + margin
    share = "accuracy" in name or "f1" in name

    def place(epoch: float, value: float) -> tuple[float, float]:
        return rounded((epoch - 1) / (longest - 1) * CURVE_WIDTH), rounded((high - value) / (high - low) * CURVE_HEIGHT)

    lines = []
    for number, (candidate, values) in enumerate(zip(candidates, series, strict=True)):
        said = [f"{value:.2%}" if share else f"{value:.4g}" for value in values]
        points = [Point(*place(i, v), f"{candidate.name}, pass {i}: {said[i - 1]}") for i, v in enumerate(values, start=1)]
        if len(points) > 1:
            lines.append(Line(number, candidate.name, path_of(points), points))
    return LineChart(
        width=CURVE_WIDTH,
        height=CURVE_HEIGHT,
        lines=lines,
        x_ticks=[Tick(place(step, low)[0], f"{step:.0f}") for step in nice_steps(1, longest, min(6, longest - 1)) if step == int(step)],
        y_ticks=[Tick(place(1, step)[1], f"{step:.3g}" if not share else f"{step:.1%}") for step in nice_steps(low, high, 4)],
    )
