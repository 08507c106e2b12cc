"""`millrace demo`: starts a stack, sends it a stream with labels, and shows what it makes of it."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.embedded import Stack
from stack.generator import generate
from stack.live_table import shown
from stack.measured_run import MeasuredRun
from stack.replay import (
    GENERATED,
    GENERATED_EVENTS,
    GENERATED_HELP,
    INTERRUPTED,
    USER_ERRORS,
    SkippedLines,
    add_plan_arguments,
    check_writable,
    count,
    finish,
    first_row_checked,
    plan_of,
    stopped_by_signals,
)
from stack.report import Report
from stack.running_stack import probe_of
from store.labelled_files import BadLine, Row

RATE = 200.0


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("demo", help="start a stack, stream labelled texts through it, and watch it learn", description=__doc__)
    parser.add_argument(
        "--dataset", type=Path, metavar="FILE", help="JSON Lines or CSV (also .gz); default: a generated stream with a drift"
    )
    parser.add_argument("--events", type=count, default=GENERATED_EVENTS, metavar="N", help=GENERATED_HELP)
    add_plan_arguments(parser, rate=RATE)
    parser.add_argument("--exit-when-done", action="store_true", help="print the report after the last label and stop the stack")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the stack (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary data folder")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; exit codes as those of `replay`."""
    try:
        rows = _rows(args)
        for path in filter(None, (args.report, args.sent)):
            check_writable(path)
        with data_folder(args.data_dir, keep=args.keep) as folder, _terminated_like_ctrl_c():
            return _demo(args, rows, folder)
    except USER_ERRORS as error:
        print(f"millrace demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted while starting or stopping")
        return INTERRUPTED


def _rows(args: argparse.Namespace) -> Iterable[Row | BadLine]:
    return first_row_checked(args.dataset) if args.dataset else generate(args.events, seed=args.seed)


def _demo(args: argparse.Namespace, rows: Iterable[Row | BadLine], folder: Path) -> int:
    stack = Stack(folder)
    try:
        stack.start(progress=_say)
        report, stopped = _measure(args, rows, stack, folder)
    finally:
        _say("stopping the stack")
        # A folder that is about to be removed needs no savepoint.
        stack.stop(savepoint=args.data_dir is not None or args.keep)
    if stopped and not (args.exit_when_done or args.report):
        return 0
    return finish(report, args.report)


def _measure(args: argparse.Namespace, rows: Iterable[Row | BadLine], stack: Stack, folder: Path) -> tuple[Report | None, bool]:
    """Return the report, if there is one, and whether the user has stopped the demo."""
    wants_report = bool(args.exit_when_done or args.report)
    dataset = args.dataset.name if args.dataset else GENERATED
    measured = MeasuredRun(settings=stack.settings, plan=plan_of(args), dataset=dataset, probe=probe_of(folder), ledger=args.sent)
    urls = {"dashboard": stack.addresses["api"], "flink": stack.addresses["flink"]}
    for name, url in urls.items():
        _say(f"{name}: {url}")
    with stopped_by_signals(measured.stop):
        with shown(urls) as show:
            report = measured.run(rows, on_moment=show, on_skip=SkippedLines().show, stay=not wants_report)
        if report and not args.exit_when_done:
            _say(f"{args.report} is written; the stack runs on until Ctrl-C")
            measured.stop.wait()
    return report, measured.stop.is_set()


def _say(message: str) -> None:
    print(message, flush=True)


@contextmanager
def data_folder(given: Path | None, *, keep: bool) -> Iterator[Path]:
    """Yield the given folder, or a temporary one that is removed afterwards unless it is to be kept."""
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    try:
        yield folder
    finally:
        if keep:
            _say(f"the data is in {folder}; `millrace up --data-dir {folder}` goes on from there")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while no run handles both: what was started is stopped in either case."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
