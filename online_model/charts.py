"""The geometry of charts: numbers of an evaluation become coordinates, which `charts.html` draws as SVG.

The pages of `millrace evaluate` and of a refresh share it; both lie in layers above this one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from online_model.calibration_error import BINS, Reliability
from online_model.prequential import NOTHING

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
    """A line, of a model for example: its number chooses the colour and the dashes."""

    number: int
    name: str
    path: str
    points: list[Point]


class LineChart(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over one axis; `alarms` are upright lines across all of them. Width and height are of the area within the axes."""

    width: float
    height: float
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    alarms: list[Point] = []


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


def path_of(points: Sequence[Point]) -> str:
    """Return the path through the points.

    >>> path_of([Point(0, 1.5, "first"), Point(2, 3, "second")])
    'M0 1.5L2 3'
    """
    return "M" + "L".join(f"{point.x} {point.y}" for point in points)


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
                x=rounded(i * width + 1),
                width=rounded(width - 2),
                y=rounded((1 - accuracy) * RELIABILITY_SIDE),
                height=rounded(accuracy * RELIABILITY_SIDE),
                confidence_x=rounded(confidence * RELIABILITY_SIDE),
                confidence_y=rounded((1 - confidence) * RELIABILITY_SIDE),
                share_y=rounded(HISTOGRAM_HEIGHT - share),
                share_height=rounded(share),
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
        names=[Tick(rounded((i + 0.5) * size), name) for i, name in enumerate(names)],
        cells=cells,
        left=rounded(longest + 12),
        top=rounded(longest * 0.72 + 16),
        width=rounded(longest + 12 + side + longest * 0.72),
        height=rounded(longest * 0.72 + 16 + side + 4),
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


def rounded(value: float) -> float:
    """Return a coordinate as precise as a screen needs it."""
    return round(float(value), 2)
