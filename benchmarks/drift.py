"""River's drift detectors on the errors of served predictions, beside alarms that never come and alarms that always come."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.drift_streams import LONGEST, Outcomes, Stream, drawn_streams, outcomes_of, read_sets, real_streams
from online_model.drift import DETECTORS, DriftMonitor, Watch

DATA = Path("../shared/data")
WITHIN = 1000
"""A drift counts as detected if an alarm comes while it goes on or at most so many labels later."""

RISING = ("swap", "gradual swap", "partial swap", "drawn sudden", "drawn gradual")
"""Drifts that must be detected; the others may well leave the share of errors as it is, or lower it."""

Watcher = Callable[[bool], bool]
"""Takes an outcome; returns whether it raises an alarm."""

CONTENDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ADWIN, River's default": ("adwin", "ADWIN", {}),
    "ADWIN delta .02": ("adwin", "ADWIN", {"delta": 0.02, "clock": 8}),
    "ADWIN delta .1": ("adwin", "ADWIN", {"delta": 0.1, "clock": 8}),
    "DDM, River's default": ("binary.ddm", "DDM", {}),
    "EDDM, River's default": ("binary.eddm", "EDDM", {}),
    "EDDM beta .6": ("binary.eddm", "EDDM", {"alpha": 0.7, "beta": 0.6}),
    "HDDM_A, River's default": ("binary.hddm_a", "HDDM_A", {}),
    "HDDM_W, River's default": ("binary.hddm_w", "HDDM_W", {}),
    "HDDM_W 1e-5, lambda .01": ("binary.hddm_w", "HDDM_W", {"drift_confidence": 1e-5, "lambda_val": 0.01}),
    "Page-Hinkley, River's default": ("page_hinkley", "PageHinkley", {"mode": "up"}),
    "KSWIN, River's default": ("kswin", "KSWIN", {"seed": 1}),
}


class Result(msgspec.Struct):
    """What a contender did.

    Attributes:
        name: the contender.
        delays: for each kind of drift, labels until the first alarm, or None where none came in time.
        alarms: alarms in streams whose drifts nobody knows, by the stream's name.
        false: alarms where nothing had changed.
        quiet: labels where nothing had changed.
        microseconds: time for one label.
    """

    name: str
    delays: dict[str, list[int | None]]
    alarms: dict[str, int]
    false: int = 0
    quiet: int = 0
    microseconds: float = 0.0

    def detected(self, kinds: Iterable[str]) -> tuple[float, float]:
        """Return the share of such drifts that were detected, and the mean delay."""
        all_delays = [delay for kind in kinds for delay in self.delays.get(kind, [])]
        found = [delay for delay in all_delays if delay is not None]
        return len(found) / max(1, len(all_delays)), statistics.fmean(found) if found else float("inf")

    def mean_time_ratio(self) -> float:
        """Return labels between false alarms / labels until a drift is detected × share that is detected (Bifet and others, 2013)."""
        share, delay = self.detected(RISING)
        return self.quiet / max(1, self.false) / max(1.0, delay) * share


def monitor(name: str) -> Watcher:
    """Return a watcher with a detector, kept as the replicas keep it."""
    watch = DriftMonitor.from_stored(Watch(name, "", 0, None))
    return lambda error: watch.add(error=error, seq=0) is not None


def every(labels: int) -> Watcher:
    """Return a watcher that raises an alarm after so many labels, whatever they are; 0 for never."""
    seen = iter(range(1, 1 << 60))
    return lambda _: labels > 0 and next(seen) % labels == 0


def watchers() -> dict[str, Callable[[], Watcher]]:
    """Return the contenders: the trivial ones, what the setting `drift_detector` offers, and others."""
    offered = list(DETECTORS)
    DETECTORS.update(CONTENDERS)
    found: dict[str, Callable[[], Watcher]] = {
        "never": lambda: every(0),
        "every 1000": lambda: every(1000),
        "every 100": lambda: every(100),
    }
    found |= {f"`{name}`": lambda name=name: monitor(name) for name in offered}  # type: ignore[misc]  # a default binds the name
    return found | {name: lambda name=name: monitor(name) for name in CONTENDERS}


def judge(name: str, make: Callable[[], Watcher], streams: Sequence[Stream]) -> Result:
    """Run a contender over all streams."""
    result = Result(name, {}, {})
    labels, began = 0, time.process_time()
    for stream in streams:
        alarms = _alarms(make(), stream.outcomes)
        labels += len(stream.outcomes)
        if stream.kind == "file order":
            result.alarms[stream.name] = len(alarms)
            continue
        quiet = len(stream.outcomes) if stream.at is None else stream.at
        result.false += sum(alarm < quiet for alarm in alarms)
        result.quiet += quiet
        if stream.at is not None:
            late = stream.at + stream.ramp + WITHIN
            first = next((alarm - stream.at for alarm in alarms if stream.at <= alarm < late), None)
            result.delays.setdefault(stream.kind, []).append(first)
    result.microseconds = (time.process_time() - began) / max(1, labels) * 1e6
    return result


def _alarms(watcher: Watcher, outcomes: Outcomes) -> list[int]:
    return [place for place, error in enumerate(outcomes) if watcher(bool(error))]


def accuracy_with_resets(make: Callable[[], Watcher], streams: Sequence[Stream]) -> float:
    """Return the mean accuracy, in %, of a model that each alarm replaces by an empty one."""
    shares = []
    for stream in streams:
        again = _alarms(make(), stream.outcomes)  # without an alarm all would be as it was
        shares.append(statistics.fmean(outcomes_of(stream.rows, make()) if again else stream.outcomes))
    return 100 * (1 - statistics.fmean(shares))


def main(arguments: list[str]) -> None:
    """Print how each contender fares, and what a model that is reset at each alarm would lose."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drift", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of labelled texts, *.jsonl.gz (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(arguments)
    sets = read_sets(args.data)
    streams = [stream for seed in range(args.seeds) for source in (real_streams(sets, seed), drawn_streams(seed)) for stream in source]
    print(f"{len(streams)} streams of {sum(len(s.outcomes) for s in streams):,} labels, each at most {LONGEST:,} unless in file order\n")
    contenders = watchers()
    _print_table([judge(name, make, streams) for name, make in contenders.items()])
    steady, moved = ([s for s in streams if s.kind == kind][: len(sets)] for kind in ("shuffled", "swap"))
    print("\nMean accuracy in % of a model that each alarm replaces by an empty one: shuffled / labels swapped\n")
    for name in ("never", "every 1000", *(f"`{name}`" for name in DETECTORS if name not in CONTENDERS)):
        print(f"| {name} | {' / '.join(f'{accuracy_with_resets(contenders[name], group):.1f}' for group in (steady, moved))} |", flush=True)


def _print_table(results: Sequence[Result]) -> None:
    kinds = list(results[0].delays)
    head = ["contender", "detected", "mean delay", "false alarms in 10,000", "mean time ratio", *kinds, "file order", "µs a label"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for result in sorted(results, key=Result.mean_time_ratio, reverse=True):
        share, delay = result.detected(RISING)
        cells = [
            result.name,
            f"{share:.0%}",
            f"{delay:.0f}",
            f"{result.false / max(1, result.quiet) * 10_000:.3f}",
            f"{result.mean_time_ratio():,.0f}",
            *(f"{found:.0%} {median}" for kind in kinds for found, median in [_detected(result.delays[kind])]),
            " ".join(str(count) for count in result.alarms.values()),
            f"{result.microseconds:.1f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def _detected(delays: Sequence[int | None]) -> tuple[float, str]:
    found = [delay for delay in delays if delay is not None]
    return len(found) / len(delays), f"({statistics.median(found):.0f})" if found else ""
