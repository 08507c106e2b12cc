"""`millrace evaluate FILE…`: how well models do on labelled texts, each predicted before its label is learned.

The replica of the jobs predicts each row, and learns its label afterwards; no server is needed. Several files and several models are
shown side by side.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from online_model.models import problems_of
from online_model.softmax import warm_up
from schemas.settings import Settings, SettingsError, read_settings
from stack.errors import ConfigurationErrors
from stack.evaluation import Run, evaluate
from stack.evaluation_data import GENERATED, Choice, Data, load
from stack.evaluation_page import write_page
from stack.evaluation_report import Evaluated, Scores
from stack.live_table import percent
from stack.replay import SkippedLines, check_writable, count
from store.labelled_files import SourceError

EVENTS = 20_000
_SHOWN_EVERY = 100


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("evaluate", help="measure models on labelled texts: predict, score, learn", description=__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help=f"JSON Lines or CSV (also .gz) with text, label and optionally split (train, test); `{GENERATED}`: the stream of the demo",
    )
    parser.add_argument(
        "--model", action="append", metavar="M", help="a model, e.g. softmax or river:naive_bayes.MultinomialNB (default: MILLRACE_MODEL)"
    )
    parser.add_argument("--label-delay", type=_from_0, default=0, metavar="N", help="a label comes after so many events (default: 0)")
    parser.add_argument("--label-fraction", type=_share, default=1.0, metavar="F", help="share of the labels that come (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice of labels and of the generated stream (default: 0)")
    parser.add_argument("--limit", type=count, metavar="N", help="at most so many rows of each file")
    parser.add_argument("--events", type=count, default=EVENTS, metavar="N", help="length of the generated stream (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with curves, confusions and calibration")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 if all is evaluated. Whatever is wrong is said before anything is evaluated."""
    # Each once, in the order given.
    settings, problems = _settings()
    files, models = list(dict.fromkeys(args.files)), list(dict.fromkeys(args.model or [settings.model]))
    choice = Choice(limit=args.limit, label_fraction=args.label_fraction, seed=args.seed, events=args.events)
    sets = _loaded(files, choice, problems)
    problems += [problem for model in models for problem in problems_of(model)]
    problems += [problem for path in filter(None, (args.report, args.html)) if (problem := _unwritable(path))]
    if problems:
        raise ConfigurationErrors(problems)
    for line in (line for data in sets for line in data.left_out):
        print(line, file=sys.stderr)
    warm_up()
    runs = _evaluated(sets, models, settings, args)
    if args.report:
        reports = [run.report for run in runs]
        args.report.write_bytes(msgspec.json.format(msgspec.json.encode(reports), indent=1))
    if args.html:
        write_page(args.html, runs)
    return 0


def _settings() -> tuple[Settings, list[str]]:
    try:
        return read_settings(os.environ), []
    except SettingsError as error:
        return Settings(), str(error).splitlines()


def _loaded(files: list[str], choice: Choice, problems: list[str]) -> list[Data]:
    sets = []
    for name in files:
        try:
            sets.append(load(name, choice, on_skip=SkippedLines().show))
        except SourceError as error:
            problems.append(str(error))
    return sets


def _unwritable(path: Path) -> str | None:
    try:
        check_writable(path)
    except SourceError as error:
        return str(error)
    return None


def _evaluated(sets: list[Data], models: list[str], settings: Settings, args: argparse.Namespace) -> list[Run]:
    console = Console()
    runs: list[Run] = []
    for data in sets:
        of_file: list[Run] = []
        for model in models:
            with _progress(f"{Path(data.name).name}  {model}", len(data.train) + len(data.test)) as advance:
                delay, fraction = args.label_delay, args.label_fraction
                of_file.append(evaluate(data, model, settings, label_delay=delay, label_fraction=fraction, progress=advance))
        console.print(table([run.report for run in of_file]))
        runs += of_file
    return runs


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it has come while it runs, on a terminal; a line at its start elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"evaluating {what}", file=sys.stderr, flush=True)
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            if done % _SHOWN_EVERY == 0 or done == total:  # showing takes as long as a prediction
                progress.update(task, completed=done)

        yield advance


def table(reports: list[Evaluated]) -> Table:
    """Return the figures of the models on one file, side by side."""
    first = reports[0]
    title = Text(f"\n{first.file}: {first.rows:,} rows, {first.classes} classes", style="bold")
    shown = Table(title=title, title_justify="left", padding=(0, 1))
    shown.add_column("", no_wrap=True)
    for report in reports:
        shown.add_column(Text(report.model, overflow="fold"), justify="right", min_width=9)
    for name, figure in FIGURES.items():
        values = [figure(report) for report in reports]
        if any(values):
            shown.add_row(name, *values)
    return shown


def _of_scores(part: str) -> dict[str, Callable[[Evaluated], str]]:
    """Return how the scores of one part are shown; a model that was not tested shows nothing."""

    def shown(say: Callable[[Scores], str]) -> Callable[[Evaluated], str]:
        return lambda report: "" if (scores := getattr(report, part)) is None else say(scores)

    return {
        f"{part} accuracy": shown(lambda s: percent(s.accuracy)),
        f"{part} macro-F1": shown(lambda s: percent(s.macro_f1)),
        f"{part} log loss": shown(lambda s: f"{s.log_loss:.3f}"),
        f"{part} ECE": shown(lambda s: f"{s.ece:.3f}"),
    }


FIGURES: dict[str, Callable[[Evaluated], str]] = {
    **_of_scores("prequential"),
    "  last half": lambda report: f"{report.prequential.ece_last_half:.3f}",
    "  by chance alone, up to": lambda report: f"{report.prequential.ece_calibrated_p95:.3f}",
    **_of_scores("test"),
    "predictions a second": lambda report: f"{report.predict_per_second:,.0f}",
    "labels learned a second": lambda report: f"{report.learn_per_second:,.0f}",
    "memory, MiB": lambda report: f"{report.memory_mib:,.1f}",
}


def _from_0(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 on")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value
