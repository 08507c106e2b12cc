"""RocksDB and the heap as state backends of learn, side by side: how long checkpoints take while a million predictions wait."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.backlog import drain, preload
from stack.embedded import Stack
from stack.flink_rest import FlinkRest
from stack.generator import generate

LOAD_S = 40
RATE = 500
HEAP_MIB = {"rocksdb": 700, "hashmap": 3500}
"""On the heap a waiting prediction takes more than a kilobyte, and as much again while a checkpoint copies it."""


class Measured(msgspec.Struct, frozen=True):
    """Durations (ms) of learn's checkpoints under load, the bytes of the last one, and the events a second with which it was filled."""

    durations: list[int]
    state_mib: float
    written_mib: float
    filled: float
    peak_mib: float


def main(arguments: list[str]) -> None:
    """Fill the state of each backend, measure under a steady load, and print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks backends")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    args = parser.parse_args(arguments)
    results = {backend: _measure(backend, args.waiting) for backend in HEAP_MIB}
    for backend, found in results.items():
        median, worst = np.percentile(found.durations, [50, 99])
        print(
            f"{backend:8} {args.waiting:,} waiting: {len(found.durations)} checkpoints, median {median:6,.0f} ms, 99 % {worst:6,.0f} ms,"
            f" state {found.state_mib:6,.0f} MiB, written by one {found.written_mib:6.1f} MiB,"
            f" filled at {found.filled:,.0f} events/s, peak {found.peak_mib:,.0f} MiB"
        )
    medians = {backend: float(np.median(found.durations)) for backend, found in results.items()}
    print(f"hashmap takes {medians['hashmap'] / medians['rocksdb']:.1f} times as long as rocksdb")


def _measure(backend: str, waiting: int) -> Measured:
    overrides = {"learn_state_backend": backend, "taskmanager_heap_mib": HEAP_MIB[backend]}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        ports = dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0)
        empty = Stack(Path(folder), overrides, ports=ports, jobs=())
        empty.start()
        try:
            preload(empty.settings, waiting, 0.0)
        finally:
            empty.stop()
        stack = Stack(Path(folder), overrides)
        stack.start()
        try:
            first, _, last, peak = drain(stack, waiting)
            return _under_load(stack, first.per_second(last), peak)
        finally:
            stack.stop(savepoint=False)


def _under_load(stack: Stack, filled: float, peak: float) -> Measured:
    """Send events for a while, and collect the checkpoints that learn completes meanwhile."""
    rest = FlinkRest(stack.addresses["flink_rest"])
    learn = next(job for job, seen in rest.jobs().items() if seen.name == "learn")
    seen: dict[int, dict[str, int]] = {}
    command = [sys.executable, "-m", "stack", "replay", str(_stream(Path(stack.folder.root), RATE * LOAD_S)), "--rate", str(RATE)]
    with subprocess.Popen([*command, "--label-fraction", "0.2", "--data-dir", str(stack.folder.root)], stdout=subprocess.DEVNULL) as sender:
        began = time.time() * 1000
        while sender.poll() is None:
            time.sleep(1)
            newest = rest.newest_checkpoint(learn)
            if newest and newest["trigger_timestamp"] > began:
                seen[newest["id"]] = newest
    last = seen[max(seen)]
    sizes = [checkpoint["checkpointed_size"] for checkpoint in seen.values()]
    durations = [checkpoint["end_to_end_duration"] for checkpoint in seen.values()]
    return Measured(durations, last["state_size"] / 2**20, float(np.median(sizes)) / 2**20, filled, peak)


def _stream(folder: Path, events: int) -> Path:
    path = folder / "load.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode({"text": row.text, "label": row.label}) + b"\n" for row in generate(events, seed=5)))
    return path
