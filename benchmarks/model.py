"""The model beside River's words and softmax regression and Vowpal Wabbit: texts a second, one text a call, on one core.

Every contender goes from the raw text to the probabilities of all classes, with its default setting. All learn the train part of a set,
in turns; then all predict its test part, in turns, and the best of the rounds counts: so noise of the machine hits all alike. The time is
that of the processor: what other programs take does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # it has no types of its own

from benchmarks.contenders import RIVER, WABBIT, contenders, own
from online_model.softmax import HashedSoftmax, warm_up
from stack.generator import generate
from store.labelled_files import Row, read_rows

SETS = ("snips7", "us_airline", "banking77")
GOALS = {("predict", RIVER): 5.0, ("predict", WABBIT): 2.0, ("learn", RIVER): 1.0}
TURNS = 10
"""So many slices has the train part; the contenders take turns at each."""

SLOW_TEXTS, FAST_TEXTS = 300, 3000
"""Texts of a round of predictions: of a model with many classes, or few."""

Split = tuple[list[Row], list[Row]]
Speeds = dict[str, float]


def main(arguments: list[str]) -> None:
    """Run the sets one after the other, print a table of each, and write all figures as JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks model")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the sets as SET.jsonl.gz")
    parser.add_argument("--sets", default=",".join(SETS), help="which of them")
    parser.add_argument("--file", type=Path, help="one file of texts and labels instead")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of predictions; the best counts")
    parser.add_argument("--cpu", type=int, help="the core to run on (default: the last one)")
    parser.add_argument("--report", type=Path, help="write the figures here")
    args = parser.parse_args(arguments)
    cpu = pin(args.cpu)
    print(f"one core, number {cpu}, of {cpu_name()}; load {os.getloadavg()[0]:.1f} before", flush=True)
    warm_up()
    report: dict[str, Any] = {"cpu": cpu_name(), "python": platform.python_version(), "sets": {}}
    for name, (train, test) in _sets(args.data, args.sets.split(","), args.file).items():
        speeds = measure(train, test, args.rounds)
        speeds["more"] = more(train, test, args.rounds)
        _print(name, train, test, speeds)
        report["sets"][name] = speeds
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))


def pin(cpu: int | None) -> int:
    """Keep this process on one core, the last one if none is given, and return its number; -1 where that cannot be done."""
    if not hasattr(os, "sched_setaffinity"):  # macOS
        return -1
    chosen = max(os.sched_getaffinity(0)) if cpu is None else cpu
    os.sched_setaffinity(0, {chosen})
    return chosen


def cpu_name() -> str:
    """Return what the system calls the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


def measure(train: Sequence[Row], test: Sequence[Row], rounds: int) -> dict[str, Any]:
    """Return texts a second of each contender, learning and predicting."""
    taking_part = contenders(sorted({row.label or "" for row in train}))
    seconds = dict.fromkeys((c.name for c in taking_part), 0.0)
    size = -(-len(train) // TURNS)
    for start in range(0, len(train), size):
        for contender in taking_part:
            seconds[contender.name] += _seconds(contender.learn, [(row.text, row.label) for row in train[start : start + size]])
    learn = {name: len(train) / spent for name, spent in seconds.items()}
    some = [(row.text,) for row in islice(cycle(test), SLOW_TEXTS if min(learn.values()) < 2000 else FAST_TEXTS)]
    predict = dict.fromkeys(learn, 0.0)
    for _ in range(rounds):
        for contender in taking_part:
            _seconds(contender.predict, some)  # the caches hold again what they would hold if it ran alone
            predict[contender.name] = max(predict[contender.name], len(some) / _seconds(contender.predict, some))
    return {"learn": learn, "predict": predict}


def more(train: Sequence[Row], test: Sequence[Row], rounds: int) -> Speeds:
    """Return texts a second of other ways through our model."""
    contender, model = own(), HashedSoftmax()
    texts, labels = pd.Series([row.text for row in train]), pd.Series([row.label for row in train])
    found = {"learn, learn_many": len(train) / _seconds(model.learn_many, [(texts, labels)])}
    some = [row.text for row in islice(cycle(test), FAST_TEXTS)]
    one, frame, pairs = [(text,) for text in some], pd.Series(some), list(zip(some, islice(cycle(labels), FAST_TEXTS), strict=True))
    ways: dict[str, Callable[[], float]] = {
        "predict, predict_top of 10": lambda: _seconds(lambda text: model.predict_top(text, 10), one),
        "predict, predict_one": lambda: _seconds(model.predict_one, one),
        "predict, predict_proba_many": lambda: _seconds(model.predict_proba_many, [(frame,)]),
        "predict, model changed before each text": lambda: _changing(model, pairs),
    }
    for text, label in pairs:
        contender.learn(text, label)
    for name, way in ways.items():
        found[name] = max(len(some) / way() for _ in range(rounds))
    return found


def _changing(model: HashedSoftmax, pairs: Iterable[tuple[str, str]]) -> float:
    """Return the seconds that predictions take if each comes after a label: nothing that was kept counts any more."""
    spent = 0.0
    for text, label in pairs:
        model.learn_one("a", label)
        started = time.process_time()
        model.predict_proba_one(text)
        spent += time.process_time() - started
    return spent


def _seconds(call: Callable[..., object], many: Sequence[tuple[Any, ...]]) -> float:
    started = time.process_time()
    for arguments in many:
        call(*arguments)
    return time.process_time() - started


def _sets(folder: Path, names: list[str], file: Path | None) -> dict[str, Split]:
    files = {file.name: file} if file else {name: folder / f"{name}.jsonl.gz" for name in names}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing and not file:
        print(f"no {', '.join(missing)} (--data names the folder): generated texts instead")
        rows = list(generate(10_000, seed=1))
        return {"generated": (rows[:8000], rows[8000:])}
    return {name: _split(path) for name, path in files.items()}


def _split(path: Path) -> Split:
    rows = [row for row in read_rows(path) if isinstance(row, Row) and row.label]
    test = [row for row in rows if row.meta.get("split") == "test"]
    return [row for row in rows if row.meta.get("split", "train") == "train"], test or rows


def _print(name: str, train: Sequence[Row], test: Sequence[Row], speeds: dict[str, Any]) -> None:
    size = sum(len(row.text) for row in test) / len(test)
    print(f"\n{name}: {len(train):,} labels to learn, {len({row.label for row in train})} classes, texts of {size:.0f} characters")
    for what in ("predict", "learn"):
        ours = next(iter(speeds[what].values()))
        for contender, speed in speeds[what].items():
            goal = GOALS.get((what, contender))
            said = f"ours is {ours / speed:6.2f} times as fast" if speed != ours else ""
            print(f"  {what:8} {contender:38} {speed:10,.0f}/s  {said}{f' (goal {goal:.0f})' if goal else ''}")
    for way, speed in speeds["more"].items():
        print(f"  ours, {way:41} {speed:10,.0f}/s")
