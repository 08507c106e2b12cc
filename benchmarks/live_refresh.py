"""Served accuracy with and without refreshes: the same events, the same late labels, two runs of the embedded stack, compared in pairs.

In one of them a refresh starts each time so many labels have been learned. What counts is what was served: the label of each
event's committed prediction, against the label that came for it later.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
from scipy.stats import binomtest

from schemas.log import AnyChange
from schemas.parsing import record_parser
from schemas.records import Prediction
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from stack.embedded import Stack
from stack.measured_run import MeasuredRun, Moment
from stack.report import Report
from stack.running_stack import probe_of
from stack.schedule import Plan
from store.committed import read_committed
from store.labelled_files import Row, read_rows
from store.model_log import ModelLogReader

TASK = "default"
PORTS = dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0)


class Served(msgspec.Struct):
    """What one run served.

    Attributes:
        report: the run's report.
        labels: for each event that was predicted, by number: the label that was served.
        lines: the line that served each of them.
        changes: the changes in the model log.
    """

    report: Report
    labels: dict[int, str | None]
    lines: dict[int, str]
    changes: list[AnyChange]


def main(arguments: list[str]) -> None:
    """Run each data set with and without refreshes, and print both accuracies and their paired test."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks live-refresh")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--label-delay-s", type=float, default=5.0)
    parser.add_argument("--label-fraction", type=float, default=1.0)
    parser.add_argument("--refresh-labels", type=int, default=4000, help="a refresh after so many labels each (default: %(default)s)")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args(arguments)
    for path in args.files:
        rows = [row for row in itertools.islice(read_rows(path), args.limit) if isinstance(row, Row)]
        plan = Plan(rate=args.rate, label_delay_s=args.label_delay_s, label_fraction=args.label_fraction)
        print(f"{path.name}: {len(rows)} events at {args.rate:g} a second, labels {args.label_delay_s:g} s later", flush=True)
        without = served_by_run(rows, plan, refresh_labels=None)
        with_refreshes = served_by_run(rows, plan, refresh_labels=args.refresh_labels)
        _compare(rows, without, with_refreshes)


def served_by_run(rows: list[Row], plan: Plan, *, refresh_labels: int | None) -> Served:
    """Run the rows through a stack of their own; with a refresh after each `refresh_labels` labels, if there are to be any."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = Stack(Path(folder), {}, ports=PORTS)
        stack.start()
        try:
            settings = stack.settings
            run = MeasuredRun(settings=settings, plan=plan, dataset="rows", probe=probe_of(Path(folder)))
            refreshes = _Refreshes(settings, refresh_labels)
            report = run.run(rows, on_moment=refreshes.look, on_skip=lambda _: None)
            refreshes.join()
            if report is None:
                raise SystemExit("interrupted")
            return _read(settings, report)
        finally:
            stack.stop(savepoint=False)


class _Refreshes:
    """Starts a refresh whenever so many more labels have been learned, one at a time."""

    def __init__(self, settings: Settings, every: int | None) -> None:
        self._settings = settings
        self._every = every
        self._next = every or 0
        self._thread: threading.Thread | None = None

    def look(self, moment: Moment) -> None:
        """Start one if it is time."""
        busy = self._thread is not None and self._thread.is_alive()
        if self._every is None or busy or moment.status.seq < self._next:
            return
        self._next = moment.status.seq + self._every
        self._thread = threading.Thread(target=self._refresh, args=(moment.status.seq,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the one that runs."""
        if self._thread is not None:
            self._thread.join()

    def _refresh(self, seq: int) -> None:
        began = time.monotonic()
        command = [sys.executable, "-m", "batch_model", "refresh", "--task", TASK, "--by", "benchmark", "--why", f"at seq {seq}"]
        environment = {**os.environ, **as_environment(self._settings)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        print(f"  refresh at seq {seq}: {time.monotonic() - began:.0f} s, exit code {ended.returncode}", flush=True)
        if ended.stdout.startswith("{"):
            told = msgspec.json.decode(ended.stdout)
            print(f"    {told['verdict']}: {told['line']}: " + "\n      ".join(told["reasons"]), flush=True)
        else:
            print(ended.stdout + ended.stderr, flush=True)


def _read(settings: Settings, report: Report) -> Served:
    served = Served(report, {}, {}, [])
    parse = record_parser(Prediction)
    for batch in read_committed(settings.kafka, settings.topic_prefix + Topic.PREDICTIONS):
        for record in batch:
            prediction = parse(record.value)
            number = int(prediction.event_id.rpartition("-")[2])
            served.labels[number], served.lines[number] = prediction.label, prediction.model.line
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    served.changes = [entry for entry in reader.entries(TASK) if isinstance(entry, AnyChange)]
    return served


def _compare(rows: list[Row], without: Served, refreshed: Served) -> None:
    for entry in refreshed.changes:
        print(f"  {entry.seq}: {type(entry).__name__} {entry.line} by {entry.by}: {entry.why}")
    for name, run in (("without", without), ("with", refreshed)):
        report = run.report
        print(f"  {name}: {report.predictions} predictions, {report.missing_predictions} missing, {report.duplicate_predictions} twice")
    everywhere = [n for n, row in enumerate(rows) if row.label is not None and n in without.labels and n in refreshed.labels]
    released = min((n for n, line in refreshed.lines.items() if line != "base"), default=len(rows))
    for name, numbers in (("all events", everywhere), ("since the first release", [n for n in everywhere if n >= released])):
        _print_pairs(name, rows, numbers, without, refreshed)


def _print_pairs(name: str, rows: list[Row], numbers: list[int], without: Served, refreshed: Served) -> None:
    if not numbers:
        print(f"  {name}: none")
        return
    first = [without.labels[n] == rows[n].label for n in numbers]
    second = [refreshed.labels[n] == rows[n].label for n in numbers]
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    p = binomtest(only_second, only_first + only_second, alternative="greater").pvalue if only_first + only_second else 1.0
    print(
        f"  {name}: {len(numbers)}; served right without {sum(first) / len(numbers):.2%}, with {sum(second) / len(numbers):.2%}; "
        f"only without {only_first}, only with {only_second}, p {p:.2g} (exact McNemar, one-sided)",
        flush=True,
    )
