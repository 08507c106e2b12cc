"""Does the review queue save labels? Its slices and their mix against labels asked at random, on streams with the real engine.

A stream goes by in the order of a file's train part (of which each seed leaves out a fifth). Every `--arrive` events `--ask` labels are
asked among the newest `--window` events without one, and learned at once. The test part says how good the model is by then. What is asked
is chosen by the code of the queue (`online_model.review`), with the predictions as they were served when each event came.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.review_picture import draw
from online_model.models import OwnModel
from online_model.review.chance import place_in_random
from online_model.review.pool import Pool, best_now, doubt_of
from online_model.review.sketches import Sketcher
from online_model.review.turns import Slice, Taught, slices
from store.labelled_files import Row, read_rows

TOP = 10
MARKS = (20, 40, 60, 80, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000)
RANDOM_SHARE = 0.1
SHOWN = (100, 200, 500, 1000)

STREAMS = "repeats: half are copies of recent texts; late: a third of the classes comes only after a quarter of the stream"

Doubt = Callable[[Sequence[float]], float]
Curve = list[tuple[int, float]]


class Policy(NamedTuple):
    """How labels are chosen: the slices that are tried, in order, given a chance; by which doubt; whether the model looks again."""

    slices: Callable[[float], Sequence[Slice]]
    doubt: Doubt = doubt_of
    again: bool = True


def only(name: Taught) -> Callable[[float], Sequence[Slice]]:
    """Return what always tries one slice."""
    return lambda _: (name,)


def least_confidence(probabilities: Sequence[float]) -> float:
    """Return how far the most probable class is from certain."""
    return 1.0 - max(probabilities, default=0.0)


def entropy(probabilities: Sequence[float]) -> float:
    """Return the entropy of the classes that a prediction lists, in nats."""
    return -sum(p * math.log(p) for p in probabilities if p > 0) if probabilities else 10.0


POLICIES: dict[str, Policy] = {
    "random": Policy(lambda _: ("random",)),
    "uncertain": Policy(only("uncertain")),
    "diverse": Policy(only("diverse")),
    "new": Policy(only("new")),
    "mix": Policy(slices),
    "mix, as served": Policy(slices, again=False),
    "uncertain, as served": Policy(only("uncertain"), again=False),
    "uncertain by least confidence": Policy(only("uncertain"), least_confidence),
    "uncertain by entropy": Policy(only("uncertain"), entropy),
    "diverse without doubt (k-center)": Policy(only("diverse"), lambda _: 1.0),
}
DRAWN = ("random", "uncertain", "diverse", "new", "mix")


class Case(NamedTuple):
    """One run: a file, a policy, a seed, and how the stream goes."""

    file: Path
    policy: str
    seed: int
    stream: str
    ask: int
    arrive: int
    window: int


class Run:
    """A stream that goes by, and what is asked of it."""

    def __init__(self, case: Case, rows: Sequence[Row], test: Sequence[Row]) -> None:
        self.case, self.rows, self.test = case, rows, test
        self.policy = POLICIES[case.policy]
        self.model = OwnModel()
        self.chance = random.Random(case.seed)  # noqa: S311 - repeatable, and protects nothing
        self.sketches = Sketcher().sketches([row.text for row in rows])
        self.pool = Pool(case.window)
        self.members: dict[str, float] = {}
        self.everything_is_random = case.policy == "random"

    def curve(self) -> Curve:
        """Return the accuracy on the test part after so many labels."""
        marks, labels, found = iter(MARKS), 0, []
        mark = next(marks)
        for start in range(0, len(self.rows), self.case.arrive):
            self._arrive(range(start, min(start + self.case.arrive, len(self.rows))))
            for event_id in self._asked():
                row = self.rows[int(event_id)]
                self.model.learn_one(row.text, row.label)
                labels += 1
                if labels == mark:
                    found.append((mark, self._accuracy()))
                    mark = next(marks, 0)
            if not mark:
                break
        return found

    def _arrive(self, numbers: range) -> None:
        for number in numbers:
            event_id = str(number)
            place = place_in_random(f"{self.case.seed}-{event_id}")
            if place < RANDOM_SHARE or self.everything_is_random:
                self.members[event_id] = place
            else:
                self.pool.add(event_id, self.sketches[number], self._doubt(number))
            oldest = str(number - self.case.window)
            self.members.pop(oldest, None)
            self.pool.remove([oldest])

    def _doubt(self, number: int) -> float:
        return self.policy.doubt(list(self.model.predict_top(self.rows[number].text, TOP).values()))

    def _doubts(self, events: Sequence[str]) -> list[float]:
        return [self._doubt(int(event_id)) for event_id in events]

    def _asked(self) -> Iterator[str]:
        """Yield the events to ask about in this round; all are chosen before the first label is learned, as if several people label."""
        chosen: list[str] = []
        while len(chosen) < self.case.ask:
            event_id = self._choose()
            if event_id is None:
                break
            chosen.append(event_id)
        yield from chosen

    def _choose(self) -> str | None:
        for name in self.policy.slices(self.chance.random()):
            if name == "random" and self.members:
                event_id = min(self.members, key=self.members.__getitem__)
                del self.members[event_id]
                self.pool.learn(self.sketches[int(event_id)])
                return event_id
            if name in ("uncertain", "diverse", "new") and len(self.pool):
                best = best_now(self.pool, name, self._doubts) if self.policy.again else self.pool.best(name, 1)
                self.pool.ask(best[0])
                self.pool.remove(best[:1])
                return best[0]
        return None

    def _accuracy(self) -> float:
        return statistics.fmean(self.model.predict_one(row.text) == row.label for row in self.test)


def run(case: Case) -> Curve:
    """Run one case."""
    rows = [row for row in read_rows(case.file) if isinstance(row, Row) and row.label]
    train = [row for row in rows if row.meta.get("split", "train") == "train"]
    test = [row for row in rows if row.meta.get("split") == "test"]
    return Run(case, stream_of(train, case), test).curve()


def stream_of(train: Sequence[Row], case: Case) -> list[Row]:
    """Return the rows in the order in which they come: four fifths of the train part, as they are or changed as the stream's name says."""
    draw_one = random.Random(case.seed)  # noqa: S311 - repeatable, and protects nothing
    kept = [row for row in train if draw_one.random() < 0.8]
    if case.stream == "repeats":
        return list(_repeated(kept, draw_one))
    if case.stream == "late":
        late = set(draw_one.sample(sorted({str(row.label) for row in train}), k=len({row.label for row in train}) // 3))
        quarter = len(kept) // 4
        return [row for row in kept[:quarter] if row.label not in late] + kept[quarter:]
    return kept


def _repeated(rows: Sequence[Row], draw_one: random.Random) -> Iterator[Row]:
    """Yield the rows; about half of what comes out are copies of one of the hundred before, as texts that are passed on."""
    out: list[Row] = []
    for row in rows:
        out.append(row)
        yield row
        while draw_one.random() < 0.5:
            out.append(draw_one.choice(out[-100:]))
            yield out[-1]


def saved(policy: Curve, chance: Curve, labels: int) -> float:
    """Return the share of labels that a policy saves: for the accuracy that random labels reach with `labels`, by interpolation.

    Both curves are made monotone first (isotonic regression), so that noise is not taken for progress; what the policy does not reach
    within its labels counts as if it did with the last of them.
    """
    (x, y), (own_x, own_y) = (_rising(curve) for curve in (chance, policy))
    return 1.0 - float(np.interp(np.interp(labels, x, y), own_y, own_x)) / labels


def _rising(curve: Curve) -> tuple[Any, Any]:
    # Slow to import, and needed once all is done; it has no types of its own.
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]  # noqa: PLC0415 - as said above

    x, y = (np.array(column, float) for column in zip(*curve, strict=True))
    # A tiny slope: where it is level, the first place counts.
    return x, IsotonicRegression().fit_transform(x, y) + x * 1e-9


def main(arguments: list[str]) -> None:
    """Print a table for each file, and draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks review", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="labelled texts with the splits train and test")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--stream", choices=("plain", "repeats", "late"), default="plain", help=STREAMS)
    parser.add_argument("--policies", default=",,".join(POLICIES), help="separated by two commas")
    parser.add_argument("--ask", type=int, default=10, help="labels at a time")
    parser.add_argument("--arrive", type=int, default=100, help="events between")
    parser.add_argument("--window", type=int, default=2000, help="newest events that may be asked about")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="draw the curves here")
    args = parser.parse_args(arguments)
    names = list(dict.fromkeys(["random", *args.policies.split(",,")]))
    found: dict[str, dict[str, list[Curve]]] = {}
    with ProcessPoolExecutor(args.processes) as processes:
        for file in args.files:
            cases = [
                Case(file, name, seed, args.stream, args.ask, args.arrive, args.window) for name in names for seed in range(args.seeds)
            ]
            curves = list(processes.map(run, cases))
            found[file.name.split(".")[0]] = {
                name: curves[start : start + args.seeds] for name, start in zip(names, range(0, len(curves), args.seeds), strict=True)
            }
            print_table(file.name, found[file.name.split(".")[0]])
    if args.picture:
        draw(args.picture, {name: {policy: curves[policy] for policy in DRAWN if policy in curves} for name, curves in found.items()})


def print_table(name: str, found: dict[str, list[Curve]]) -> None:
    """Print accuracy in % after so many labels, and the labels saved in %: means over the seeds, and their standard deviation."""
    most = min(curve[-1][0] for curves in found.values() for curve in curves)
    shown = [mark for mark in SHOWN if mark <= most]
    at = [most // 2, most]
    print(f"\n{name}\n\n| policy | {' | '.join(f'{m} labels' for m in shown)} | {' | '.join(f'saves of {m}' for m in at)} |")
    print(f"|{'---|' * (1 + len(shown) + len(at))}")
    for policy, curves in found.items():
        cells = [f"{100 * statistics.fmean(dict(curve)[mark] for curve in curves):.1f}" for mark in shown]
        for labels in at:
            shares = [100 * saved(own, chance, labels) for own, chance in zip(curves, found["random"], strict=True)]
            cells.append(f"{statistics.fmean(shares):.0f} ± {statistics.stdev(shares) if len(shares) > 1 else 0:.0f} %")
        print(f"| {policy} | {' | '.join(cells)} |", flush=True)
