"""The batch refresh on whole sets: trained on split "train" with default settings, scored on split "test", beside what others reach there.

`python -m benchmarks refresh [--data FOLDER] [--sets SET …] [--each]`. Every set has a process of its own, so that its peak memory is its
own. Nothing of the test part is seen before a model is finished.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from batch_model.fit import FitOptions, fit
from batch_model.rows import LabelledText
from online_model.models import OwnModel, TextModel
from store.labelled_files import Row, read_rows

BASELINES = "baselines.md"
FASTTEXT, SVM = "fastText (test)", "TF-IDF SVM (test)"


class Result(NamedTuple):
    """What came of a set: accuracies in %, seconds from texts to model, MiB at most, by how much the fold changed a logit."""

    online: float
    chosen: float
    candidate: str
    each: dict[str, float]
    seconds: float
    mib: float
    fold: float


def main(arguments: Sequence[str]) -> None:
    """Print a line for each set, and the means."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks refresh", description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=f"folder with the sets as SET.jsonl.gz, and {BASELINES}")
    parser.add_argument("--sets", nargs="*", help=f"default: those of {BASELINES}")
    parser.add_argument("--each", action="store_true", help="measure each candidate by itself on the test part as well")
    asked = parser.parse_args(arguments)
    peers = baselines(asked.data / BASELINES)
    results = {}
    for name in asked.sets or peers:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            results[name] = process.submit(_measured, asked.data / f"{name}.jsonl.gz", asked.each).result()
        print(_line(name, results[name], peers.get(name, {})), flush=True)
    print(_means(results, peers))


def baselines(path: Path) -> dict[str, dict[str, float]]:
    """Return what the file's table says of each set: accuracy on the test part in %, of the columns that have no other."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in path.read_text().splitlines() if line.startswith("|")]
    head = rows[0]
    return {row[0]: {name: float(row[head.index(name)]) for name in (FASTTEXT, SVM)} for row in rows[2:] if len(row) == len(head)}


def _measured(path: Path, each: bool) -> Result:
    train, test = (_split(path, part) for part in ("train", "test"))
    online = OwnModel()
    for row in train:
        online.learn_one(row.text, row.label)
    begun = time.perf_counter()
    found = fit(train, None, lambda _row: None)
    seconds = time.perf_counter() - begun
    alone = {candidate.name: (candidate,) for candidate in FitOptions().candidates} if each else {}
    return Result(
        online=accuracy(online, test),
        chosen=accuracy(found.model, test),
        candidate=found.candidate,
        seconds=seconds,
        mib=found.metrics["peak_mib"],
        fold=found.metrics["fold_max_abs_diff"],
        each={
            name: accuracy(fit(train, None, lambda _row: None, msgspec.structs.replace(FitOptions(), candidates=one)).model, test)
            for name, one in alone.items()
        },
    )


def accuracy(model: TextModel, rows: Sequence[LabelledText]) -> float:
    """Return the share of rows whose label is the most probable class, in %."""
    return 100.0 * sum(row.label in model.predict_top(row.text, 1) for row in rows) / len(rows)


def _split(path: Path, part: str) -> list[LabelledText]:
    rows = [row for row in read_rows(path) if isinstance(row, Row) and row.label is not None and row.meta.get("split") == part]
    return [LabelledText(row.text, str(row.label), time=row.ts or 0) for row in rows]


def _line(name: str, result: Result, peers: dict[str, float]) -> str:
    others = ", ".join(f"{peer} {value:.1f}" for peer, value in peers.items())
    alone = "".join(f", {candidate} {value:.2f}" for candidate, value in result.each.items())
    return (
        f"{name}: online {result.online:.2f}, refresh {result.chosen:.2f} ({result.candidate}){alone}; {others}; "
        f"{result.seconds:.1f} s, {result.mib:.0f} MiB, fold {result.fold:.1e}"
    )


def _means(results: dict[str, Result], peers: dict[str, dict[str, float]]) -> str:
    def mean(values: Sequence[float]) -> str:
        return f"{sum(values) / len(values):.2f}"

    parts = [
        f"online {mean([result.online for result in results.values()])}",
        f"refresh {mean([result.chosen for result in results.values()])}",
    ]
    names = next(iter(results.values())).each
    parts += [f"{name} {mean([result.each[name] for result in results.values()])}" for name in names]
    parts += [
        f"{peer} {mean([peers[name][peer] for name in results])}" for peer in (FASTTEXT, SVM) if all(name in peers for name in results)
    ]
    return "mean: " + ", ".join(parts)
