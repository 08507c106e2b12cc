"""Changes of the served model under load: thousands of events a second, and a release, a rollback or a promotion every few seconds.

A reader that sees committed records only says how long the output ever paused; the report says whether anything is missing or twice.
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
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Self

from benchmarks.live_refresh import PORTS, TASK
from schemas.log import Command
from schemas.parsing import record_parser
from schemas.records import Prediction
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from stack.embedded import Stack
from stack.generator import generate
from stack.measured_run import MeasuredRun, Moment
from stack.running_stack import probe_of
from stack.schedule import Plan
from store.artifacts import ArtifactFolder
from store.commands import await_answer, send
from store.committed import open_consumer, partitions_of
from store.releases import ReleaseFolder


def main(arguments: list[str]) -> None:
    """Run the stream through a stack, change models meanwhile, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks live-swap")
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--label-fraction", type=float, default=0.1)
    parser.add_argument("--changes", type=int, default=8, help="after the first release (default: %(default)s)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = Stack(Path(folder), {}, ports=PORTS)
        stack.start()
        try:
            _run(stack, args)
        finally:
            stack.stop(savepoint=False)


def _run(stack: Stack, args: argparse.Namespace) -> None:
    settings = stack.settings
    events = int(args.rate * args.seconds)
    plan = Plan(rate=args.rate, label_fraction=args.label_fraction)
    run = MeasuredRun(settings=settings, plan=plan, dataset="generated", probe=probe_of(stack.folder.root))
    watch, changes = _Commits(settings), _Changes(settings, args.changes)
    with watch:
        report = run.run(generate(events, seed=1), on_moment=changes.look, on_skip=lambda _: None)
        changes.join()
    if report is None:
        raise SystemExit("interrupted")
    print(
        f"{report.events_sent} events, {report.predictions} predictions, {report.missing_predictions} missing, "
        f"{report.duplicate_predictions} twice; log without gaps: {not report.model_log_gaps}"
    )
    print(f"served by: {dict(watch.lines)}; without a version: {watch.unversioned}")
    print(f"longest time without committed output while events flowed: {watch.longest_gap(run.replay.sent.started):.2f} s")


class _Changes:
    """Refreshes once enough labels are learned, then rolls back and promotes in turn."""

    def __init__(self, settings: Settings, changes: int) -> None:
        self._settings = settings
        self._changes = changes
        self._thread: threading.Thread | None = None

    def look(self, moment: Moment) -> None:
        """Begin when there are labels to train on."""
        if self._thread is None and moment.status.seq >= 2000:
            self._thread = threading.Thread(target=self._change, daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until all changes are made."""
        if self._thread is not None:
            self._thread.join()

    def _change(self) -> None:
        # Forced: on this stream the model is right nearly always, and what matters here is the change.
        command = [sys.executable, "-m", "batch_model", "refresh", "--task", TASK, "--by", "benchmark", "--force"]
        ended = subprocess.run(command, env={**os.environ, **as_environment(self._settings)}, capture_output=True, text=True, check=False)
        print("\n".join((ended.stdout + ended.stderr).strip().splitlines()[-3:]), flush=True)
        release = ReleaseFolder(ArtifactFolder(self._settings.artifacts)).list(TASK)[0]
        for number in range(self._changes):
            back = number % 2 == 0
            command_id = f"swap-{number}"
            asked = Command(
                command_id=command_id,
                task=TASK,
                do="rollback" if back else "serve",
                line=None if back else release.line,
                by="benchmark",
                origin=None if back else release.origin,
            )
            began = time.monotonic()
            send(self._settings, asked)
            answer = await_answer(self._settings, asked, timeout_s=60)
            print(f"{asked.do}: {type(answer).__name__} {answer.line} after {time.monotonic() - began:.1f} s {answer.why}", flush=True)
            time.sleep(1.0)


class _Commits:
    """Reads the predictions as they are committed, and notes when."""

    def __init__(self, settings: Settings) -> None:
        self.lines: Counter[str] = Counter()
        self.unversioned = 0
        self._settings = settings
        self._times: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def longest_gap(self, start: float) -> float:
        """Return the longest time, in seconds, between two commits seen since `start` (epoch seconds)."""
        times = [at for at in self._times if at >= start]
        return max((b - a for a, b in itertools.pairwise(times)), default=float("inf"))

    def _read(self) -> None:
        parse = record_parser(Prediction)
        with closing(open_consumer(self._settings.kafka)) as consumer:
            parts = partitions_of(consumer, self._settings.topic_prefix + Topic.PREDICTIONS)
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            while not self._stop.is_set():
                records = [record for batch in consumer.poll(timeout_ms=20).values() for record in batch]
                if records:
                    self._times.append(time.time())
                for record in records:
                    model = parse(record.value).model
                    self.lines[model.line] += 1
                    self.unversioned += not model.line
