"""`millrace test FILE` and `millrace predict FILE`: what a saved model says of the texts of a file, and how that fares."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from online_model.frozen import answer, score_frozen
from online_model.replica import Replica
from online_model.softmax import warm_up
from schemas.records import ModelVersion, Scores
from schemas.settings import SettingsError, read_settings
from stack.errors import StackError
from stack.live_table import percent
from stack.replay import SkippedLines, count
from stack.saved_model import load_model
from store.labelled_files import BadLine, Row, SourceError, read_rows

_TEST = "test"
_CLASSES_SHOWN = 20


class Tested(Scores, frozen=True, kw_only=True):
    """How a saved model fares on a file: its scores, which model it was, and texts a second, one a call."""

    file: str
    split: str | None
    model: ModelVersion
    task: str
    specification: str
    rows_per_second: float


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add both commands."""
    test = subparsers.add_parser("test", help="score a saved model on labelled texts", description="Score a saved model on a file.")
    test.add_argument("--split", metavar="NAME", help=f"rows of this split (default: `{_TEST}` where rows have splits, else all)")
    test.add_argument("--json", action="store_true", help="as JSON")
    test.set_defaults(func=run_test)
    predict = subparsers.add_parser("predict", help="classify the texts of a file with a saved model", description=_PREDICT)
    predict.add_argument("--output", type=Path, metavar="FILE", help="write there instead of to the standard output")
    predict.add_argument("--top", type=count, default=5, metavar="N", help="so many of the most probable classes (default: %(default)s)")
    predict.set_defaults(func=run_predict)
    for command in (test, predict):
        command.add_argument("file", metavar="FILE", type=Path, help="JSON Lines or CSV (also .gz) with text")
        command.add_argument("--model", required=True, type=Path, metavar="ARTIFACT", help="the file of a snapshot or of a release")


_PREDICT = (
    "Write one JSON object for each row: text, label, probabilities, the model's line and seq, and the row's event_id, if it has one."
)


def run_test(args: argparse.Namespace) -> int:
    """Run `millrace test`: 0 if it was scored."""
    try:
        replica = _loaded(args.model)
        split, labelled = _labelled(args.file, args.split)
    except (SourceError, SettingsError) as error:
        raise StackError(str(error)) from error
    warm_up()
    began = time.perf_counter()
    scores = score_frozen(replica.model, labelled)
    seconds = time.perf_counter() - began
    result = Tested(
        **msgspec.structs.asdict(scores),
        file=str(args.file),
        split=split,
        model=ModelVersion(line=replica.line, seq=replica.seq),
        task=replica.task,
        specification=replica.model.specification,
        rows_per_second=round(len(labelled) / seconds, 1),
    )
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        _show(result)
    return 0


def _loaded(path: Path) -> Replica:
    return load_model(path, allow_pickle=read_settings(os.environ).allow_pickle)


def _labelled(path: Path, wanted: str | None) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the split that is scored, and its texts with their labels."""
    skipped = SkippedLines()
    rows = [row for row in _rows(path, skipped) if row.label is not None]
    has_splits = any("split" in row.meta for row in rows)
    split = wanted or (_TEST if has_splits else None)
    labelled = [(row.text, row.label) for row in rows if row.label is not None and (split is None or row.meta.get("split") == split)]
    if not labelled:
        raise SourceError(f"{path}: no row{f' of the split {split!r}' if split else ''} has a label to score")
    return split, labelled


def _rows(path: Path, skipped: SkippedLines) -> Iterator[Row]:
    for row in read_rows(path):
        if isinstance(row, BadLine):
            skipped.show(row)
        else:
            yield row


def _show(result: Tested) -> None:
    console = Console()
    part = f", split {result.split}" if result.split else ""
    said = f"{result.file}{part}: {result.labels:,} labels; model {result.model.line} at {result.model.seq} of task {result.task}"
    console.print(Text(said, style="bold"), soft_wrap=True)
    figures = f"accuracy {percent(result.accuracy)}, macro-F1 {percent(result.macro_f1)}, log loss {result.log_loss:.3f}"
    console.print(f"{figures}; {result.rows_per_second:,.0f} texts a second", highlight=False)
    table = Table(padding=(0, 1))
    for name in ("class", "labels", "precision", "recall", "F1"):
        table.add_column(name, justify="left" if name == "class" else "right")
    by_support = sorted(result.per_class.items(), key=lambda item: (-item[1].support, item[0]))
    for name, quality in by_support[:_CLASSES_SHOWN]:
        shares = (percent(quality.precision), percent(quality.recall), percent(quality.f1))
        table.add_row(Text(name), f"{quality.support:,.0f}", *shares)
    console.print(table)
    if len(by_support) > _CLASSES_SHOWN:
        console.print(f"… and {len(by_support) - _CLASSES_SHOWN} more classes: --json lists them", highlight=False)


def run_predict(args: argparse.Namespace) -> int:
    """Run `millrace predict`: 0 if every row that can be read was classified."""
    skipped = SkippedLines()
    for given in (args.file, args.model):
        if args.output and args.output.exists() and given.exists() and args.output.samefile(given):
            raise StackError(f"{args.output}: it is read from; --output names a file that is written")
    try:
        replica = _loaded(args.model)
        warm_up()
        with ExitStack() as stack:
            sink = stack.enter_context(args.output.open("wb")) if args.output else sys.stdout.buffer
            done = _predict_all(replica, args, skipped, cast("BinaryIO", sink))
            sink.flush()
    except (SourceError, SettingsError) as error:
        raise StackError(str(error)) from error
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise StackError(f"{args.output}: cannot be written: {error.strerror}") from error
    print(f"{done:,} texts classified", file=sys.stderr)
    return 0


def _predict_all(replica: Replica, args: argparse.Namespace, skipped: SkippedLines, sink: BinaryIO) -> int:
    version = ModelVersion(line=replica.line, seq=replica.seq)
    done = 0
    for row in _rows(args.file, skipped):
        said = answer(replica.model, row.text, top=args.top, version=version)
        known = {"event_id": row.meta["event_id"]} if row.meta.get("event_id") is not None else {}
        sink.write(msgspec.json.encode({**known, "text": row.text, "label": said.label, "proba": said.proba, "model": said.model}) + b"\n")
        done += 1
    return done
