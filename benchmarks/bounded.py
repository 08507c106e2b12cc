"""Whether memory and state stay flat: millions of events with short waits, sampled while they go through, drawn as a picture.

Events are sent as fast as the stack takes them, never more than a little ahead. Labels come for a share of them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from schemas.topics import Topic
from stack.embedded import Stack
from stack.flink_rest import FlinkRest, FlinkUnreachable
from stack.generator import generate
from stack.schedule import Plan
from stack.sender import Replay
from store.committed import end_offsets
from store.connect import RedisUnavailable, connect_redis
from store.labelled_files import Row
from store.reader import RedisReader

SAMPLE_S = 5.0
AHEAD = 150_000
"""So many events may be on their way: enough that the jobs never wait, few enough that what waits is not the stream itself."""
_MIB = 2**20


def main(arguments: list[str]) -> None:
    """Run the stream through a stack, print a line now and then, and write the samples and the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks bounded")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--label-fraction", type=float, default=0.05)
    parser.add_argument("--label-wait-s", type=int, default=60)
    parser.add_argument("--event-known-s", type=int, default=120, help="how long texts and ids are kept")
    parser.add_argument("--out", type=Path, default=Path("bounded"), help="FILE.csv and FILE.png are written")
    args = parser.parse_args(arguments)
    overrides = {"label_wait_s": args.label_wait_s, "event_known_s": args.event_known_s}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = Stack(Path(folder), overrides, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
        stack.start()
        try:
            samples = _run(stack, args.events, args.label_fraction)
        finally:
            stack.stop(savepoint=False)
    _write(samples, args.out.with_suffix(".csv"))
    _draw(samples, args.out.with_suffix(".png"))
    print(f"{args.out}.csv and {args.out}.png are written")
    for name in samples[-1]:
        print(f"{name:>28}: after a quarter {_at(samples, name, 0.25):12,.1f}, at the end {_at(samples, name, 1.0):12,.1f}")


def _run(stack: Stack, events: int, fraction: float) -> list[dict[str, float]]:
    """Send and sample until everything is in Redis."""
    seen = [0]
    replay = Replay(
        kafka=stack.settings.kafka, topic_prefix=stack.settings.topic_prefix, plan=Plan(label_fraction=fraction, label_delay_s=2.0)
    )
    sender = threading.Thread(target=replay.send, args=(_held_back(generate(events, seed=1), seen),), daemon=True)
    sender.start()
    began, samples = time.monotonic(), [_sample(stack, 0.0, 0)]
    while seen[0] < events:
        time.sleep(SAMPLE_S)
        seen[0] = _counted(stack)
        samples.append(_sample(stack, time.monotonic() - began, seen[0]))
        print("  ".join(f"{name} {value:,.0f}" for name, value in samples[-1].items()), flush=True)
    sender.join()
    return samples


def _held_back(rows: Iterator[Row], seen: list[int]) -> Iterator[Row]:
    """Yield the rows, waiting while too many are on their way."""
    for number in itertools.count():
        while number - seen[0] > AHEAD:
            time.sleep(0.05)
        row = next(rows, None)
        if row is None:
            return
        yield row


def _counted(stack: Stack) -> int:
    try:
        with connect_redis(stack.settings.redis) as client:
            buckets = RedisReader(client, topic_prefix=stack.settings.topic_prefix).counts("default", "predictions", "total", limit=1)
    except RedisUnavailable:
        return 0
    return sum(buckets[0].counts.values()) if buckets else 0


def _sample(stack: Stack, seconds: float, seen: int) -> dict[str, float]:
    state = {part.name: part.pid for part in stack.state().parts}
    sample: dict[str, float] = {"seconds": seconds, "events": seen}
    for part, pid in state.items():
        sample[f"{part} RSS MiB"] = psutil.Process(pid).memory_info().rss / _MIB if pid and psutil.pid_exists(pid) else 0.0
    with connect_redis(stack.settings.redis) as client:
        memory: dict[str, Any] = client.info("memory")
    sample["Redis data MiB"] = memory["used_memory"] / _MIB
    rest = FlinkRest(stack.addresses["flink_rest"])
    try:
        sample["TaskManager heap MiB"] = rest.heap_used(next(iter(rest.task_managers()))) / _MIB
        for job_id, job in rest.jobs().items():
            newest = rest.newest_checkpoint(job_id)
            if job.name == "learn" and newest:
                sample["learn state MiB"] = newest["state_size"] / _MIB
            sample[f"{job.name} checkpoint ms"] = newest.get("end_to_end_duration", 0)
    except (FlinkUnreachable, StopIteration):
        pass
    sample["behind"] = _written(stack) - seen
    return sample


def _written(stack: Stack) -> int:
    name = stack.settings.topic_prefix + Topic.EVENTS
    return sum(end_offsets(stack.settings.kafka, [name])[name].values())


def _at(samples: list[dict[str, float]], name: str, share: float) -> float:
    """Return the mean over the twentieth of the samples that ends at a share of them: single ones jump."""
    end = max(1, int(len(samples) * share))
    values = [sample.get(name, 0.0) for sample in samples[max(0, end - max(1, len(samples) // 20)) : end]]
    return sum(values) / len(values)


def _write(samples: list[dict[str, float]], path: Path) -> None:
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({name: round(value, 1) for name, value in sample.items()} for sample in samples)


def _draw(samples: list[dict[str, float]], path: Path) -> None:
    """Draw memory, state and checkpoint durations over the events that went through."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import, for one benchmark

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(4, 1, figsize=(9, 11), sharex=True, layout="constrained")
    groups = {
        "resident memory, MiB": [name for name in samples[-1] if name.endswith("RSS MiB")],
        "heap and Redis data, MiB": ["TaskManager heap MiB", "Redis data MiB"],
        "state of learn, MiB": ["learn state MiB"],
        "duration of the newest checkpoint, ms": [name for name in samples[-1] if name.endswith("checkpoint ms")],
    }
    for axis, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            axis.plot(
                [s["events"] / 1e6 for s in samples],
                [s.get(name, float("nan")) for s in samples],
                linewidth=1,
                label=name.split(" MiB")[0].split(" ms")[0],
            )
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left", ncols=3)
    axes[-1].set_xlabel("million events in Redis")
    figure.savefig(path, dpi=110)
