"""Texts a second of the model and of River's words and softmax regression, one text a call, on generated texts or a file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from river import compose, feature_extraction, linear_model

from online_model.softmax import HashedSoftmax, warm_up
from stack.generator import generate
from stack.source_files import Row, read_rows


def main(arguments: list[str]) -> None:
    """Time predict and learn of both on the same texts, and print ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks model")
    parser.add_argument("--file", type=Path, help="texts and labels (default: generated ones)")
    parser.add_argument("--events", type=int, default=10_000)
    args = parser.parse_args(arguments)
    rows = _rows(args.file, args.events)
    warm_up()
    ours = HashedSoftmax()
    river: Any = compose.Pipeline(feature_extraction.BagOfWords(), linear_model.SoftmaxRegression())
    _compare("learn", rows, lambda r: ours.learn_one(r.text, r.label or ""), lambda r: river.learn_one(r.text, r.label))
    _compare("predict", rows, lambda r: ours.predict_proba_one(r.text), lambda r: river.predict_proba_one(r.text))


def _rows(file: Path | None, events: int) -> list[Row]:
    if file is None:
        return list(generate(events, seed=1))
    return [row for row in read_rows(file) if isinstance(row, Row) and row.label][:events]


def _compare(name: str, rows: Sequence[Row], ours: Callable[[Row], object], river: Callable[[Row], object]) -> None:
    fast, slow = _per_second(rows, ours), _per_second(rows, river)
    print(f"{name:8} ours {fast:9,.0f}/s   River BagOfWords | SoftmaxRegression {slow:9,.0f}/s   ratio {fast / slow:.1f}", flush=True)


def _per_second(rows: Sequence[Row], call: Callable[[Row], object]) -> float:
    started = time.perf_counter()
    for row in rows:
        call(row)
    return len(rows) / (time.perf_counter() - started)
