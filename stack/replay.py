"""`millrace replay FILE`: sends the texts of a file, or of a generated stream, as events, and some of their labels a while later."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from schemas.records import DEFAULT_TASK, TaskName
from schemas.settings import Settings, SettingsError, read_settings
from stack.generator import generate
from stack.measured_run import MeasuredRun, Moment
from stack.outbox import DeliveryError
from stack.report import Report, write_report
from stack.running_stack import probe_of, settings_of
from stack.sampling import StackProbe
from stack.schedule import Plan
from stack.sender import Replay, Sent
from stack.sent_ledger import LedgerError
from store.connect import KafkaUnavailable, RedisUnavailable
from store.labelled_files import BadLine, Row, SourceError, read_rows

BAD_LINES_SHOWN = 5
FAULT_SHARE = 0.2
FAULTS = {
    "--out-of-order": "so many of the labels come before their event, of the others late, and of the events out of their turn",
    "--duplicates": "so many of the events and of the labels come twice",
    "--corrections": "so many of the labelled events get a wrong label first and the right one later",
}
INTERRUPTED = 130
GENERATED = "generated"
GENERATED_EVENTS = 20_000
GENERATED_HELP = "length of the generated stream (default: %(default)s)"

USER_ERRORS = (SourceError, DeliveryError, LedgerError, KafkaUnavailable, RedisUnavailable, SettingsError)
"""Whoever runs the command must act on these; the message says how."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("replay", help="send the texts of a file as events, and their labels later", description=__doc__)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        help="JSON Lines or CSV (also .gz) with text, label, and optionally ts and others; without it a stream is generated",
    )
    parser.add_argument("--events", type=count, default=GENERATED_EVENTS, metavar="N", help=GENERATED_HELP)
    add_plan_arguments(parser, rate=0.0)
    parser.add_argument("--kafka", metavar="HOST:PORT", help="bootstrap servers (default: those of the running stack, or MILLRACE_KAFKA)")
    parser.add_argument("--redis", metavar="URL", help="the Redis that the report reads (default: as with --kafka)")
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="data folder of the running stack")
    parser.set_defaults(func=run)


def add_plan_arguments(parser: argparse.ArgumentParser, *, rate: float) -> None:
    """Add the arguments that say how to send; `demo` has them too."""
    parser.add_argument(
        "--rate", type=at_least_0, default=rate, metavar="N", help="events a second, 0: as fast as possible (default: %(default)g)"
    )
    parser.add_argument(
        "--label-fraction", type=share, default=1.0, metavar="F", help="share of the labels that are sent (default: %(default)g)"
    )
    parser.add_argument(
        "--label-delay-s", type=at_least_0, default=2.0, metavar="S", help="a label comes so long after its event (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all choices (default: %(default)s)")
    parser.add_argument("--limit", type=count, metavar="N", help="at most so many events")
    parser.add_argument("--task", type=task_name, default=DEFAULT_TASK, metavar="NAME", help="task of the events (default: %(default)s)")
    for name, what in FAULTS.items():
        parser.add_argument(
            name,
            nargs="?",
            type=fault_share,
            const=FAULT_SHARE,
            default=0.0,
            metavar="SHARE",
            help=f"{what} (SHARE from 0 to 1, {FAULT_SHARE:g} if not given)",
        )
    parser.add_argument(
        "--sent", type=Path, metavar="FILE", help="write a ledger: a line of JSON for each record that Kafka has acknowledged or refused"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="wait until all has come through, and write a report as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 if all went well, 1 if something is missing, 2 if the user must act, 130 if interrupted."""
    try:
        rows = first_row_checked(args.file) if args.file else generate(args.events, seed=args.seed)
        settings = _settings(args)
        if args.report:
            return _run_with_report(args, settings, rows)
        return _run_plain(args, settings, rows)
    except USER_ERRORS as error:
        print(f"millrace replay: {error}", file=sys.stderr)
        return 2


def plan_of(args: argparse.Namespace) -> Plan:
    """Return the plan in the arguments."""
    return Plan(
        rate=args.rate,
        label_fraction=args.label_fraction,
        label_delay_s=args.label_delay_s,
        seed=args.seed,
        limit=args.limit,
        task=args.task,
        out_of_order=args.out_of_order,
        duplicates=args.duplicates,
        corrections=args.corrections,
    )


def _settings(args: argparse.Namespace) -> Settings:
    settings = settings_of(args.data_dir) or read_settings(os.environ)
    given = {name: value for name in ("kafka", "redis") if (value := getattr(args, name))}
    return msgspec.structs.replace(settings, **given)


def _run_plain(args: argparse.Namespace, settings: Settings, rows: Iterable[Row | BadLine]) -> int:
    replay = Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=plan_of(args), ledger=args.sent)
    with stopped_by_signals(replay.stop):
        sent = replay.send(rows, on_skip=SkippedLines().show, on_progress=lambda s: print(progress_line(s), flush=True))
    print(f"{progress_line(sent)}{'' if sent.complete else ', interrupted'}; event ids {sent.run_id}-0 …")
    return 0 if sent.complete else INTERRUPTED


def _run_with_report(args: argparse.Namespace, settings: Settings, rows: Iterable[Row | BadLine]) -> int:
    check_writable(args.report)
    measured = MeasuredRun(
        settings=settings, plan=plan_of(args), dataset=args.file.name if args.file else GENERATED, probe=_probe(args), ledger=args.sent
    )
    lines = ProgressLines()
    with stopped_by_signals(measured.stop):
        report = measured.run(rows, on_moment=lines.show, on_skip=SkippedLines().show)
    return finish(report, args.report)


def _probe(args: argparse.Namespace) -> StackProbe | None:
    return None if args.kafka else probe_of(args.data_dir)


def finish(report: Report | None, path: Path | None) -> int:
    """Write the report, say what it says, and return the exit code."""
    if report is None:
        print("interrupted: there is no report")
        return INTERRUPTED
    if path:
        write_report(report, path)
    print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    if report.unfinished:
        print(f"not finished: {'; '.join(report.unfinished)}", file=sys.stderr)
    if not report.redis_matches_kafka:
        print(f"Redis differs from Kafka: {'; '.join(report.redis_differences)}", file=sys.stderr)
    return 0 if report.complete and report.redis_matches_kafka else 1


def first_row_checked(path: Path) -> Iterator[Row | BadLine]:
    """Return the rows of the file, after making sure that there is one.

    Raises:
        SourceError: if the file cannot be read or holds nothing.
    """
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise SourceError(f"{path}: the file is empty")

    def chain() -> Iterator[Row | BadLine]:
        yield first
        yield from rows

    return chain()


def check_writable(path: Path) -> None:
    """Make sure, before a long run, that the report can be written.

    Raises:
        SourceError: if it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `stop` instead of breaking off."""
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SkippedLines:
    """Shows the first few lines that were skipped."""

    def __init__(self) -> None:
        self._count = 0

    def show(self, line: BadLine) -> None:
        """Say why the line was skipped."""
        self._count += 1
        if self._count <= BAD_LINES_SHOWN:
            print(f"skipped {line}", file=sys.stderr)
        elif self._count == BAD_LINES_SHOWN + 1:
            print("more lines are skipped; the last line counts them", file=sys.stderr)


def progress_line(sent: Sent) -> str:
    """Return how far sending has come.

    >>> progress_line(Sent(run_id="r", started=0, events=7, labels=2, skipped=1))
    'sent 7 events, 2 labels; skipped 1 lines'
    """
    repeated = f" (and {sent.repeated} again)" if sent.repeated else ""
    return f"sent {sent.events} events{repeated}, {sent.labels} labels" + (f"; skipped {sent.skipped} lines" if sent.skipped else "")


class ProgressLines:
    """Prints one line a second."""

    def __init__(self, write: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
        self._write = write
        self._next = 1.0

    def show(self, moment: Moment) -> None:
        """Print where the run is, if a second has passed."""
        if moment.seconds < self._next:
            return
        self._next = moment.seconds + 1.0
        status = moment.status
        accuracy = "" if status.accuracy_window is None else f", accuracy {status.accuracy_window:.1%}"
        states = ", ".join(f"{count} {state}" for state, count in sorted(status.states.items()))
        self._write(
            f"{moment.seconds:6.0f} s  {progress_line(moment.sent)} | {status.predictions} predicted, {status.visible} in Redis"
            f"{accuracy}, model {status.seq}" + (f" | {states}" if states else "")
        )


def at_least_0(text: str) -> float:
    """Return a number that is 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return value


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def fault_share(text: str) -> float:
    """Return a number from 0 to 1; a file's name, taken for one, is told where it belongs."""
    try:
        return share(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to 1; the file to send comes before the flags") from None


def count(text: str) -> int:
    """Return a whole number that is 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def task_name(text: str) -> str:
    """Return a valid name of a task."""
    try:
        return msgspec.convert(text, TaskName)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a task: lower-case letters, digits, - and _") from error
