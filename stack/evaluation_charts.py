"""The geometry of the charts of `millrace evaluate`: numbers become coordinates, which the page's template draws as SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from online_model.calibration_error import BINS, Reliability
from online_model.prequential import NOTHING
from stack.evaluation_report import Evaluated

CURVE_WIDTH, CURVE_HEIGHT = 1000.0, 260.0
RELIABILITY_SIDE = 220.0
HISTOGRAM_HEIGHT = 36.0
MAP_CLASSES = 40
FEW_CLASSES = 10
_CELL, _LARGE_CELL = 18.0, 36.0
NAME_LENGTH = 24
_CHARACTER = 7.0  # pixels, at most on average, in the fonts of the page
NO_CLASS = "(none yet)"


class Tick(msgspec.Struct, frozen=True):
    """A mark on an axis: where, and what stands there."""

    at: float
    text: str


class Point(msgspec.Struct, frozen=True):
    """A place in a chart, and what is said about it."""

    x: float
    y: float
    text: str


class Line(msgspec.Struct, frozen=True):
    """A model's line: its number chooses the colour; the last point carries its name."""

    number: int
    name: str
    path: str
    points: list[Point]


class Curve(msgspec.Struct, frozen=True):
    """The learning curves of several models on one file."""

    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    alarms: list[Point]
    window: int


class Bar(msgspec.Struct, frozen=True):
    """A bin of the reliability diagram: its bar, the mean confidence in it, and its bar in the histogram below."""

    x: float
    width: float
    y: float
    height: float
    confidence_x: float
    confidence_y: float
    share_y: float
    share_height: float
    text: str


class Cell(msgspec.Struct, frozen=True):
    """A cell of the confusion matrix; `shade` from 0 to 1."""

    x: float
    y: float
    shade: float
    right: bool
    count: int
    text: str


class ConfusionMap(msgspec.Struct, frozen=True):
    """The confusion matrix, or the part of it that has most mistakes."""

    names: list[Tick]
    cells: list[Cell]
    left: float
    top: float
    width: float
    height: float
    classes: int
    mistakes: int
    shown_mistakes: int
    cell: float


def learning_curves(reports: Sequence[Evaluated]) -> Curve:
    """Return the accuracy over the last labels of each model, against the labels learned."""
    most = max((report.curve[-1].labels for report in reports), default=1)
    # The first few labels are all or nothing: they would press the rest of the curve to the upper edge.
    shown = [[p for p in report.curve if p.labels >= min(report.window, most // 20)] or report.curve for report in reports]
    lowest = min(p.recent for points in shown for p in points)
    floor = min(0.9, math.floor(lowest * 10) / 10)

    def place(labels: float, accuracy: float) -> tuple[float, float]:
        return _r(labels / most * CURVE_WIDTH), _r((1 - accuracy) / (1 - floor) * CURVE_HEIGHT)

    lines = []
    for number, (report, points) in enumerate(zip(reports, shown, strict=True)):
        marks = [
            Point(
                *place(p.labels, p.recent),
                f"{report.model}: {p.recent:.1%} of the last {min(p.labels, report.window):,}, after {p.labels:,}",
            )
            for p in points
        ]
        path = "M" + "L".join(f"{mark.x} {mark.y}" for mark in marks)
        lines.append(Line(number, report.model, path, marks))
    alarms = [
        Point(place(alarm.position, 1.0)[0], 0.0, f"{report.model}, after {alarm.position:,} labels: {alarm.message}")
        for report in reports
        for alarm in report.alarms
    ]
    x_ticks = [Tick(place(value, 1)[0], f"{value:,.0f}") for value in nice_steps(0, most, min(7, most))]
    y_ticks = [Tick(place(0, value)[1], f"{value:.0%}") for value in nice_steps(floor, 1, 5)]
    return Curve(lines, x_ticks, y_ticks, alarms, reports[0].window)


def nice_steps(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high`, at most `most` + 1 of them.

    >>> nice_steps(0, 13784, 7), [round(v, 2) for v in nice_steps(0.7, 1, 5)]
    ([0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10000.0, 12000.0], [0.7, 0.8, 0.9, 1.0])
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]


def reliability_bars(found: Reliability) -> list[Bar]:
    """Return the bars of the bins that hold predictions."""
    total, highest = found.counts.sum(), found.counts.max()
    width = RELIABILITY_SIDE / BINS
    bars = []
    for i, (count, confidences, hits) in enumerate(zip(found.counts, found.confidences, found.hits, strict=True)):
        if not count:
            continue
        confidence, accuracy = confidences / count, hits / count
        share = count / highest * HISTOGRAM_HEIGHT
        bars.append(
            Bar(
                x=_r(i * width + 1),
                width=_r(width - 2),
                y=_r((1 - accuracy) * RELIABILITY_SIDE),
                height=_r(accuracy * RELIABILITY_SIDE),
                confidence_x=_r(confidence * RELIABILITY_SIDE),
                confidence_y=_r((1 - confidence) * RELIABILITY_SIDE),
                share_y=_r(HISTOGRAM_HEIGHT - share),
                share_height=_r(share),
                text=f"{count:,.0f} predictions ({count / total:.1%}): mean confidence {confidence:.1%}, right {accuracy:.1%}",
            )
        )
    return bars


def confusion_map(confusion: Counter[tuple[str, str]]) -> ConfusionMap:
    """Return the confusion matrix, of the classes most often confused where there are many; shades go by the share of the true class."""
    rows: Counter[str] = Counter()
    for (true, _), count in confusion.items():
        rows[true] += count
    names = _most_confused(confusion)
    index = {name: i for i, name in enumerate(names)}
    size = _LARGE_CELL if len(names) <= FEW_CLASSES else _CELL
    cells = [
        Cell(
            x=index[said] * size,
            y=index[true] * size,
            shade=round(math.sqrt(count / rows[true]), 3),
            right=true == said,
            count=count,
            text=f"{class_name(true)} called {class_name(said)}: {count:,} of {rows[true]:,} ({count / rows[true]:.1%})",
        )
        for (true, said), count in sorted(confusion.items())
        if true in index and said in index
    ]
    longest = max((len(short(name)) for name in names), default=0) * _CHARACTER
    side = len(names) * size
    return ConfusionMap(
        names=[Tick(_r((i + 0.5) * size), name) for i, name in enumerate(names)],
        cells=cells,
        left=_r(longest + 12),
        top=_r(longest * 0.72 + 16),
        width=_r(longest + 12 + side + longest * 0.72),
        height=_r(longest * 0.72 + 16 + side + 4),
        classes=len({name for pair in confusion for name in pair} - {NOTHING}),
        mistakes=sum(count for (true, said), count in confusion.items() if said not in {true, NOTHING}),
        shown_mistakes=sum(cell.count for cell in cells if not cell.right),
        cell=size,
    )


def _most_confused(confusion: Counter[tuple[str, str]]) -> list[str]:
    """Return the classes of the most frequent mistakes, as many as a chart can hold, and then those that are never mistaken; sorted."""
    by_count = sorted(confusion, key=lambda pair: (pair[0] == pair[1], -confusion[pair], pair))
    names: set[str] = set()
    for pair in by_count:
        new = {*pair} - {NOTHING}  # there is none before the first label
        if len(names | new) <= MAP_CLASSES:
            names |= new
    return sorted(names)


def class_name(name: str) -> str:
    """Return the name of a class for readers; predictions before the first label have none."""
    return name if name != NOTHING else NO_CLASS


def short(name: str) -> str:
    """Return a class's name, cut where it is too long for a chart."""
    name = class_name(name)
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def _r(value: float) -> float:
    return round(float(value), 2)
