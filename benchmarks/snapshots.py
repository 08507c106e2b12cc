"""How soon a process with a warm cache predicts, how long a snapshot takes, and how long writing one stalls a predicting thread.

The stall is the longest time between two predictions of a thread that does nothing else, in the process in which another
thread makes and stores snapshots of a full table. A busy machine stalls it as well: what Linux says that it waited for a CPU is
taken off, and the same is measured while nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from online_model.models import OwnModel
from online_model.replica import Replica
from online_model.softmax import warm_up
from schemas.records import ModelVersion, Served
from stack.generator import generate
from store.artifacts import ArtifactFolder

_START = """
import json, time
began = time.perf_counter()
from online_model.softmax import HashedSoftmax
imported = time.perf_counter()
model = HashedSoftmax()
made = time.perf_counter()
model.learn_one("a first text", "class")
learned = time.perf_counter()
model.predict_proba_one("a second text")
predicted = time.perf_counter()
print(json.dumps({"imports": imported - began, "characters, arrays": made - imported, "first learn": learned - made,
    "first predict": predicted - learned}))
"""
TEXTS = 2000
NOTABLE_S = 0.002


def main(arguments: list[str]) -> None:
    """Measure all three and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks snapshots")
    parser.add_argument("--classes", type=int, default=3, help="classes of the model with the full table")
    parser.add_argument("--snapshots", type=int, default=10)
    args = parser.parse_args(arguments)
    warm_up()
    start()
    replica = full_replica(args.classes)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stalls(replica, ArtifactFolder(folder), args.snapshots)


def start() -> None:
    """Print how long a new process takes to its first prediction; best of five."""
    best, said = float("inf"), ""
    for _ in range(5):
        began = time.perf_counter()
        output = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True).stdout
        if (whole := time.perf_counter() - began) < best:
            best, parts = whole, json.loads(output)
            said = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in parts.items())
    print(f"start to the first prediction, process and all: {best * 1000:,.0f} ms ({said})", flush=True)


def full_replica(classes: int) -> Replica:
    """Return a replica of which every row is used, with a long record of its quality."""
    model, replica = OwnModel(), Replica("default")
    for number in range(classes):
        model.learn_one("text", f"class {number}")
    state = model.__getstate__()
    rows = np.arange(model.rows, dtype=np.uint32)
    random = np.random.default_rng(0)
    weights = random.standard_normal((model.rows, classes), np.float32)
    state["arrays"] |= {"rows": rows, "weights": weights, "squares": np.ones(model.rows, np.float32)}
    model.__setstate__(state)
    replica.model = model
    for true, said in random.integers(0, classes, (20_000, 2)).tolist():
        served = Served(label=f"class {said}", proba={f"class {said}": 1.0}, classes=classes, model=ModelVersion(line="base", seq=1))
        replica.quality.add(f"class {true}", served, 1.0)
    return replica


def stalls(replica: Replica, artifacts: ArtifactFolder, times: int) -> None:
    """Print how long the steps of a snapshot take, and how long each stalls a predicting thread."""
    data = replica.snapshot()
    sha256 = artifacts.put("snapshot", data)
    print(f"snapshots of {len(data) / 2**20:.0f} MiB, {len(replica.model.classes)} classes, {os.cpu_count()} CPUs; {times} of each")
    print(f"  {'':15} {'alone':>8}   longest time between two predictions: median, most (with the waits for a CPU); below 2 ms: 0")
    steps: dict[str, Callable[[], object]] = {
        "nothing": lambda: time.sleep(0.1),
        "make": replica.snapshot,
        "store": lambda: artifacts.put("snapshot", data),
        "make and store": lambda: artifacts.put("snapshot", replica.snapshot()),
        "fetch": lambda: artifacts.get("snapshot", sha256),
        "load": lambda: Replica.from_snapshot(data),
    }
    for name, step in steps.items():
        alone = min(_seconds(step) for _ in range(times))
        gaps = np.array([_longest_gap(step) for _ in range(times)]) * 1000
        (median, median_all), (most, most_all) = np.median(gaps, axis=0), gaps.max(axis=0)
        print(f"  {name:15} {alone * 1000:5.0f} ms   {median:5.1f}, {most:5.1f} ms   ({median_all:5.1f}, {most_all:5.1f} ms)", flush=True)


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _longest_gap(step: Callable[[], object]) -> tuple[float, float]:
    """Return the longest time (s) between two predictions of another thread while `step` runs, without and with waits for a CPU."""
    model, texts = OwnModel(memory_mib=1), [row.text for row in generate(TEXTS, seed=1)]
    model.learn_one("text", "class")
    running, ready = threading.Event(), threading.Event()
    running.set()
    gaps: list[tuple[float, float]] = [(0.0, 0.0)]

    def predict() -> None:
        waited, last, at = _waited(), time.perf_counter(), 0
        while running.is_set():
            model.predict_proba_one(texts[at % TEXTS])
            now, at = time.perf_counter(), at + 1
            if (gap := now - last) > NOTABLE_S:
                before, waited = waited, _waited()
                gaps.append((gap - min(gap, waited - before), gap))
                now = time.perf_counter()
            if at == TEXTS:
                gaps[:] = [(0.0, 0.0)]
                ready.set()
            last = now

    thread = threading.Thread(target=predict)
    thread.start()
    ready.wait()
    step()
    running.clear()
    thread.join()
    return max(own for own, _ in gaps), max(whole for _, whole in gaps)


def _waited() -> float:
    """Return for how long (s) this thread was ready to run while the system ran others; 0 if unknown."""
    file = Path("/proc/thread-self/schedstat")
    return int(file.read_text(encoding="ascii").split()[1]) / 1e9 if file.exists() else 0.0
