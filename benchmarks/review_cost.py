"""What the review queue's ranking costs: time of each step with so many candidates, by the processor's clock."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from functools import partial

from online_model.review.pool import LABELLED_KEPT, Pool
from online_model.review.sketches import WORDS, Sketcher
from online_model.review.turns import MIX, Taught
from stack.generator import generate

STEPS = 200
TEXTS = 2000


def main(arguments: list[str]) -> None:
    """Print the time of each step, and the memory of the pool."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks review-cost", description=__doc__)
    parser.add_argument("--candidates", type=int, nargs="*", default=[20_000, 100_000])
    args = parser.parse_args(arguments)
    for count in args.candidates:
        measure(count)


def measure(count: int) -> None:
    """Fill a pool, and print what each step takes."""
    texts = [row.text for row in generate(TEXTS, seed=0)]
    sketcher = Sketcher()
    sketcher.sketches(texts[:10])
    started = time.process_time()
    sketches = sketcher.sketches(texts)
    spent = time.process_time() - started
    pool, draw_one = Pool(count), random.Random(0)  # noqa: S311 - repeatable, and protects nothing
    for number in range(LABELLED_KEPT):
        pool.learn(sketches[number])
    added = _each(lambda n: pool.add(str(n), sketches[n % TEXTS], draw_one.random()), count)
    print(f"\n{count:,} candidates, {pool.memory_bytes / 2**20:.1f} MiB of numbers ({WORDS * 64} bits a text)")
    print(f"  a new one: {spent / TEXTS * 1e6:.0f} µs for its bits, {added * 1e6:.0f} µs to compare and place it")
    print(f"  a label: {_each(lambda n: pool.ask(str(n)), STEPS) * 1e3:.2f} ms to compare it with all candidates")
    for name in MIX:
        print(f"  the best 50 of `{name}`: {_each(partial(_rank, pool, name), STEPS) * 1e3:.2f} ms", flush=True)


def _rank(pool: Pool, name: Taught, _: int) -> None:
    pool.best(name, 50)


def _each(step: Callable[[int], None], times: int) -> float:
    """Return the seconds of one step."""
    started = time.process_time()
    for number in range(times):
        step(number)
    return (time.process_time() - started) / times
