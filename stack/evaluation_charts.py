"""The learning curves of `millrace evaluate`: accuracies become coordinates, which the page's template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from online_model.charts import Line, LineChart, Point, Tick, nice_steps, path_of, rounded
from stack.evaluation_report import Evaluated

CURVE_WIDTH, CURVE_HEIGHT = 1000.0, 260.0


def learning_curves(reports: Sequence[Evaluated]) -> LineChart:
    """Return the accuracy over the last labels of each model, against the labels learned."""
    most = max((report.curve[-1].labels for report in reports), default=1)
    # The first few labels are all or nothing: they would press the rest of the curve to the upper edge.
    shown = [[p for p in report.curve if p.labels >= min(report.window, most // 20)] or report.curve for report in reports]
    lowest = min(p.recent for points in shown for p in points)
    floor = min(0.9, math.floor(lowest * 10) / 10)

    def place(labels: float, accuracy: float) -> tuple[float, float]:
        return rounded(labels / most * CURVE_WIDTH), rounded((1 - accuracy) / (1 - floor) * CURVE_HEIGHT)

    lines = []
    for number, (report, points) in enumerate(zip(reports, shown, strict=True)):
        marks = [
            Point(
                *place(p.labels, p.recent),
                f"{report.model}: {p.recent:.1%} of the last {min(p.labels, report.window):,}, after {p.labels:,}",
            )
            for p in points
        ]
        lines.append(Line(number, report.model, path_of(marks), marks))
    alarms = [
        Point(place(alarm.position, 1.0)[0], 0.0, f"{report.model}, after {alarm.position:,} labels: {alarm.message}")
        for report in reports
        for alarm in report.alarms
    ]
    x_ticks = [Tick(place(value, 1)[0], f"{value:,.0f}") for value in nice_steps(0, most, min(7, most))]
    y_ticks = [Tick(place(0, value)[1], f"{value:.0%}") for value in nice_steps(floor, 1, 5)]
    return LineChart(width=CURVE_WIDTH, height=CURVE_HEIGHT, lines=lines, x_ticks=x_ticks, y_ticks=y_ticks, alarms=alarms)
