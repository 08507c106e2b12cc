"""The page of `millrace evaluate`: one HTML file that needs nothing else, neither network nor scripts."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import msgspec
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from online_model import charts
from stack.evaluation import Run
from stack.evaluation_charts import learning_curves
from stack.evaluation_report import Evaluated

PAIRS = 10


class ModelPart(msgspec.Struct, frozen=True):
    """What the page shows of one model on one file."""

    number: int
    report: Evaluated
    bars: list[charts.Bar]
    confusion: charts.ConfusionMap
    pairs: list[tuple[str, str, int]]


class FilePart(msgspec.Struct, frozen=True):
    """What the page shows of one file."""

    name: str
    reports: list[Evaluated]
    curve: charts.LineChart
    models: list[ModelPart]


def write_page(path: Path, runs: list[Run]) -> None:
    """Write the page."""
    path.write_text(page(runs), encoding="utf-8")


def page(runs: list[Run]) -> str:
    """Return the page; what files and models are called is text in it, never markup."""
    parts = [_file_part(name, list(group)) for name, group in groupby(runs, key=lambda run: run.report.file)]
    loader = ChoiceLoader([PackageLoader("stack", ""), PackageLoader("online_model", "")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["charts"] = charts
    return environment.get_template("evaluation_page.html").render(files=parts, first=runs[0].report)


def _file_part(name: str, runs: list[Run]) -> FilePart:
    reports = [run.report for run in runs]
    return FilePart(name, reports, learning_curves(reports), [_model_part(number, run) for number, run in enumerate(runs)])


def _model_part(number: int, run: Run) -> ModelPart:
    outcomes = run.outcomes
    half = len(outcomes.true) // 2
    return ModelPart(
        number,
        run.report,
        charts.reliability_bars(outcomes.reliability(half)),
        charts.confusion_map(outcomes.confusion()),
        run.report.confusions[:PAIRS],
    )
