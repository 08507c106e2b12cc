"""How long predictions pause while a release is loaded beside the model that serves, catches up with the log, and takes over.

One thread predicts, in a tight loop or at a steady rate, and applies the log's entries as they come, through the class by which the
predictors switch (`store.beside`). The pause is the longest time between two predictions, beyond the time between two events. A busy
machine pauses it as well: what Linux says that the thread waited for a CPU is taken off, and shown beside. The interpreter is set up as in
the jobs: with Python's defaults one run of its collector over all modules pauses everything for 50 to 100 ms.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.snapshots import full_replica
from online_model.models import OwnModel
from online_model.replica import Replica
from online_model.softmax import warm_up
from schemas.log import AnyLogEntry, Artifact, LabelEntry, Origin, ReleaseEntry
from schemas.records import FeedbackRef, Position
from stack.generator import generate
from store.artifacts import ArtifactFolder
from store.beside import Beside
from stream.interpreter import prepare_interpreter

LINE = "r1-00000000"
_ADDRESS = f"default.releases/{LINE}.safetensors"
_QUIET_S = 2.0
_ENTRIES_PER_S = 200


class Gaps:
    """The longest times between two predictions: own, and with the waits for a CPU, in s."""

    def __init__(self) -> None:
        self.own = self.whole = 0.0
        self.predictions = 0

    def add(self, gap: float, waited: float) -> None:
        """Count a gap of so long, of which the thread waited for a CPU so long."""
        self.predictions += 1
        self.own, self.whole = max(self.own, gap - min(gap, waited)), max(self.whole, gap)

    def __str__(self) -> str:
        return f"{self.own * 1000:6.1f} ms ({self.whole * 1000:6.1f} ms) in {self.predictions:9,} predictions"


class Scene:
    """A model that serves, a release that is as large, and the labels after its training cut.

    Attributes:
        texts: what is predicted.
        stored: the snapshot of the model that serves, and of the release.
        model: what serves.
        log: the entries after its cut; the last one releases it.
    """

    def __init__(self, classes: int, labels: int, artifacts: ArtifactFolder) -> None:
        self.texts = [row.text for row in generate(2000, seed=1)]
        self.classes = classes
        self.stored = full_replica(classes).snapshot()
        self._artifacts = artifacts
        self._sha256 = artifacts.put(_ADDRESS, self.stored)
        self.model = Replica.from_snapshot(self.stored).model
        release = ReleaseEntry(
            seq=labels + 1,
            task="default",
            time=1,
            line=LINE,
            by="benchmark",
            why="",
            origin=Origin(artifact=Artifact(address=_ADDRESS, sha256=self._sha256, size_bytes=len(self.stored))),
        )
        self.log: list[AnyLogEntry] = [*(self.label(seq) for seq in range(1, labels + 1)), release]

    def label(self, seq: int) -> LabelEntry:
        """Return the entry of a label."""
        return LabelEntry(
            seq=seq,
            task="default",
            time=1,
            event_id=str(seq),
            text=self.texts[seq % len(self.texts)],
            meta={},
            label=f"class {seq % self.classes}",
            weight=1.0,
            feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
        )

    def load(self) -> Replica:
        """Return the replica with the release: the model that served from its snapshot, the release's from another, and the log."""
        replica, released = (Replica.from_snapshot(self._artifacts.get(_ADDRESS, self._sha256)) for _ in range(2))
        for entry in self.log[:-1]:
            replica.apply(entry)
            released.apply(entry)
        replica.apply(self.log[-1], brought=released.model)
        return replica


def main(arguments: list[str]) -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks swap")
    parser.add_argument("--classes", type=int, default=77)
    parser.add_argument("--labels", type=int, default=10_000, help="labels between the training cut and the release")
    parser.add_argument("--rates", type=float, nargs="*", default=[0.0, 2000.0], metavar="N", help="predictions a second; 0: full speed")
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args(arguments)
    warm_up()
    prepare_interpreter()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        scene = Scene(args.classes, args.labels, ArtifactFolder(folder))
        _say(scene, args.labels)
        for rate in args.rates:
            for _ in range(args.times):
                _measure(scene, rate)


def _say(scene: Scene, labels: int) -> None:
    memory = scene.model.memory_bytes / 2**20 if isinstance(scene.model, OwnModel) else 0
    print(
        f"a release of {memory:.0f} MiB in memory, {len(scene.stored) / 2**20:.0f} MiB stored, {scene.classes} classes, "
        f"{labels:,} labels after its cut; {len(os.sched_getaffinity(0))} CPUs"
    )
    print(f"{_ENTRIES_PER_S} labels a second come; longest time between two predictions (with the waits for a CPU)")


def _measure(scene: Scene, rate: float) -> None:
    replica = Replica.from_snapshot(scene.stored)
    for entry in scene.log[:-1]:
        replica.apply(entry)
    beside = Beside(replica, scene.load)
    del replica
    before, while_loading, after = Gaps(), Gaps(), Gaps()
    loop = _Loop(scene, beside, rate)
    loop.run(before, _for(_QUIET_S))
    beside.apply(scene.log[-1])
    began = time.perf_counter()
    loop.run(while_loading, lambda: beside.replica.line == LINE)
    took, labels = time.perf_counter() - began, loop.served - len(scene.log)
    loop.run(after, _for(_QUIET_S))
    print(f"  {f'{rate:,.0f} a second' if rate else 'full speed':14} before  {before}")
    print(f"  {'':14} while   {while_loading}, {took:.1f} s, {labels:,} labels meanwhile")
    print(f"  {'':14} after   {after}", flush=True)


def _for(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() > end


class _Loop:
    """Predicts, and applies the entries that come."""

    def __init__(self, scene: Scene, beside: Beside, rate: float) -> None:
        self._scene = scene
        self._beside = beside
        self._every_s = 1 / rate if rate else 0.0
        self.served = len(scene.log)
        self._count = 0

    def run(self, gaps: Gaps, ended: Callable[[], bool]) -> None:
        """Go on until it is ended."""
        last, waited = time.perf_counter(), _waited()
        entry_at = due = last
        while not ended():
            now = time.perf_counter()
            if self._every_s:
                due = max(due + self._every_s, now - 1)
                if due > now:
                    time.sleep(due - now)
            if now > entry_at and self._beside.replica.seq >= len(self._scene.log):
                entry_at += 1 / _ENTRIES_PER_S
                self.served += 1
                self._beside.apply(self._scene.label(self.served))
            self._beside.step()
            self._beside.replica.predict(self._scene.texts[self._count % len(self._scene.texts)], top=10)
            self._count += 1
            now = time.perf_counter()
            gap = max(0.0, now - last - self._every_s)
            if gap > 0.002:
                before, waited = waited, _waited()
                gaps.add(gap, waited - before)
                now = time.perf_counter()
            else:
                gaps.add(gap, 0.0)
            last = now


def _waited() -> float:
    """Return for how long (s) this thread was ready to run while the system ran others; 0 if unknown."""
    file = Path("/proc/thread-self/schedstat")
    return int(file.read_text(encoding="ascii").split()[1]) / 1e9 if file.exists() else 0.0
