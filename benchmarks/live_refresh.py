"""Served accuracy with and without refreshes: the same events, the same late labels, compared in pairs.

A stack serves the events, and a refresh starts each time so many labels have been learned. What counts is what was served: the
label of each event's committed prediction, against the label that came for it later. What would have been served without
refreshes follows from the log: the first line goes on learning beside every release, so each prediction is repeated by it, as it
was after the very entry that the prediction names. A second run would answer the same question with other delays: two runs
without any release differed by 0.4 points on banking77.
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
from collections import deque
from pathlib import Path
from statistics import fmean

import msgspec

from batch_model.gate import mcnemar, paired_t
from online_model.frozen import answer
from online_model.prequential import score
from online_model.replica import Replica
from schemas.log import AnyChange, AnyLogEntry, LabelEntry
from schemas.parsing import record_parser
from schemas.records import Prediction, Served
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


class Run(msgspec.Struct):
    """What one run served.

    Attributes:
        report: the run's report.
        predictions: the committed predictions, by the number of their event.
        changes: the changes in the model log.
        without: for each event, what the first line would have served.
    """

    report: Report
    predictions: dict[int, Prediction]
    changes: list[AnyChange]
    without: dict[int, Served]


def main(arguments: list[str]) -> None:
    """Run each data set, and print the accuracy with and without refreshes and their paired test."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks live-refresh")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--label-delay-s", type=float, default=5.0)
    parser.add_argument("--label-fraction", type=float, default=1.0)
    parser.add_argument("--refresh-labels", type=int, default=3000, help="a refresh after so many labels each (default: %(default)s)")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args(arguments)
    for path in args.files:
        rows = [row for row in itertools.islice(read_rows(path), args.limit) if isinstance(row, Row)]
        plan = Plan(rate=args.rate, label_delay_s=args.label_delay_s, label_fraction=args.label_fraction)
        print(f"{path.name}: {len(rows)} events at {args.rate:g} a second, labels {args.label_delay_s:g} s later", flush=True)
        _tell(rows, served_by_run(rows, plan, refresh_labels=args.refresh_labels))


def served_by_run(rows: list[Row], plan: Plan, *, refresh_labels: int) -> Run:
    """Run the rows through a stack of their own, with a refresh after each `refresh_labels` labels."""
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

    def __init__(self, settings: Settings, every: int) -> None:
        self._settings = settings
        self._every = every
        self._next = every
        self._thread: threading.Thread | None = None

    def look(self, moment: Moment) -> None:
        """Start one if it is time."""
        busy = self._thread is not None and self._thread.is_alive()
        if busy or moment.status.seq < self._next:
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


def _read(settings: Settings, report: Report) -> Run:
    parse = record_parser(Prediction)
    predictions: dict[int, Prediction] = {}
    for batch in read_committed(settings.kafka, settings.topic_prefix + Topic.PREDICTIONS):
        for record in batch:
            prediction = parse(record.value)
            predictions[int(prediction.event_id.rpartition("-")[2])] = prediction
    entries = list(ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG).entries(TASK))
    changes = [entry for entry in entries if isinstance(entry, AnyChange)]
    return Run(report, predictions, changes, _by_first_line(settings, predictions, entries))


def _by_first_line(settings: Settings, predictions: dict[int, Prediction], entries: list[AnyLogEntry]) -> dict[int, Served]:
    """Return what the first line says of each event, as it was after the entry that the event's prediction names."""
    model = Replica.configured(settings, TASK).model
    due = deque(sorted(predictions, key=lambda number: predictions[number].model.seq))
    said: dict[int, Served] = {}
    for entry in [*entries, None]:
        while due and (entry is None or predictions[due[0]].model.seq < entry.seq):
            number = due.popleft()
            said[number] = answer(model, predictions[number].text, top=settings.proba_top)
        if isinstance(entry, LabelEntry):
            model.learn_one(entry.text, entry.label, entry.weight)
    return said


def _tell(rows: list[Row], served: Run) -> None:
    for entry in served.changes:
        print(f"  entry {entry.seq}: {type(entry).__name__} {entry.line} by {entry.by}: {entry.why}")
    report = served.report
    print(f"  {report.predictions} predictions, {report.missing_predictions} missing, {report.duplicate_predictions} twice")
    first = {n: p for n, p in served.predictions.items() if p.model.line == "base"}
    differ = sum((p.label, p.proba) != (served.without[n].label, served.without[n].proba) for n, p in first.items())
    print(f"  {len(first)} were served by the first line; {differ} of them come out otherwise when they are repeated")
    labelled = [n for n in sorted(served.predictions) if rows[n].label is not None]
    released = min((n for n in labelled if n not in first), default=len(rows))
    _print_pairs("all events", rows, labelled, served)
    _print_pairs("since the first release", rows, [n for n in labelled if n >= released], served)


def _print_pairs(name: str, rows: list[Row], numbers: list[int], served: Run) -> None:
    if not numbers:
        print(f"  {name}: none")
        return
    pairs = [(score(str(rows[n].label), served.without[n]), score(str(rows[n].label), served.predictions[n])) for n in numbers]
    without, with_them = ([pair[side].correct for pair in pairs] for side in (0, 1))
    only_without = sum(a and not b for a, b in zip(without, with_them, strict=True))
    only_with = sum(b and not a for a, b in zip(without, with_them, strict=True))
    p = mcnemar(only_without, only_with)
    shares = [sum(right) / len(numbers) for right in (with_them, without)]
    print(
        f"  {name}: {len(numbers)}; served right with refreshes {shares[0]:.2%}, without {shares[1]:.2%}; "
        f"only with {only_with}, only without {only_without}, p {p:.2g} (exact McNemar, one-sided)",
        flush=True,
    )
    losses = [[pair[side].log_loss for pair in pairs] for side in (0, 1)]
    p = paired_t(losses[0], losses[1])
    print(f"    log loss with {fmean(losses[1]):.4f}, without {fmean(losses[0]):.4f}, p {p:.2g} (paired t-test, one-sided)", flush=True)
