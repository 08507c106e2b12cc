"""Outcomes of predictions (1 for an error) with a drift at a known place, or without one: of a real model, and drawn."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from online_model.models import build
from online_model.specification import OWN
from stack.generator import generate
from store.labelled_files import Row, read_rows

LONGEST = 10_000
RAMP = 1000

Labelled = list[tuple[str, str]]
Outcomes = bytearray
OnLabel = Callable[[bool], bool]
"""Takes an outcome; returns whether the model is to be replaced by an empty one."""


class Stream(msgspec.Struct, frozen=True):
    """A stream of outcomes.

    Attributes:
        kind: what happens in it.
        name: the data it is made of.
        rows: texts and labels; empty for drawn outcomes.
        outcomes: 1 for an error; each prediction was made before its label was learned.
        at: where the drift begins; None if there is none, or nobody knows.
        ramp: labels until it is complete.
    """

    kind: str
    name: str
    rows: Labelled
    outcomes: Outcomes
    at: int | None = None
    ramp: int = 0


def read_sets(folder: Path) -> dict[str, Labelled]:
    """Return the labelled texts of each file of the folder (those of split "train" where it says so), or one generated set."""
    found = {path.name.split(".")[0]: _labelled(read_rows(path)) for path in sorted(folder.glob("*.jsonl.gz"))}
    if not found:
        print(f"no data in {folder}: generated texts stand in", flush=True)
        return {"generated": _labelled(generate(LONGEST, seed=1, drift_at=1.0))}
    return found


def _labelled(rows: Iterator[object]) -> Labelled:
    return [(row.text, row.label) for row in rows if isinstance(row, Row) and row.label and row.meta.get("split", "train") == "train"]


def outcomes_of(rows: Labelled, on_label: OnLabel = lambda _: False) -> Outcomes:
    """Return the outcomes of the default model that predicts and then learns each row."""
    model, outcomes = build(OWN), bytearray()
    for text, label in rows:
        wrong = label not in model.predict_top(text, 1)
        outcomes.append(wrong)
        if on_label(wrong):
            model = build(OWN)
        model.learn_one(text, label)
    return outcomes


def real_streams(sets: dict[str, Labelled], seed: int) -> Iterator[Stream]:
    """Yield each set in its order and shuffled, with each kind of drift, and joined with the next set."""
    draw = random.Random(seed)  # noqa: S311 - the streams are repeatable by their seed
    for name, rows in sets.items():
        if seed == 0:
            yield _stream("file order", name, rows)
        mixed = draw.sample(rows, min(len(rows), LONGEST))
        at = len(mixed) // 2
        yield _stream("shuffled", name, mixed)
        yield _stream("swap", name, _relabelled(mixed, _rotated(mixed, 1.0), at, 0, draw), at)
        yield _stream("gradual swap", name, _relabelled(mixed, _rotated(mixed, 1.0), at, RAMP, draw), at, RAMP)
        if len({label for _, label in rows}) > 2:
            yield _stream("partial swap", name, _relabelled(mixed, _rotated(mixed, 0.25), at, 0, draw), at)
        yield _stream("class prior", name, _without_most_of_the_largest(mixed, at, draw), at)
    names = list(sets)
    for first, second in zip(names, names[1:] + names[:1], strict=True):
        if first != second:
            before, after = (draw.sample(sets[name], min(len(sets[name]), LONGEST // 2)) for name in (first, second))
            yield _stream("join", f"{first} > {second}", before + after, len(before))


def drawn_streams(seed: int) -> Iterator[Stream]:
    """Yield outcomes that are independent, at a steady share of errors and at one that rises."""
    draw = random.Random(seed)  # noqa: S311 - the streams are repeatable by their seed
    for share in (0.01, 0.03, 0.1, 0.2, 0.35, 0.5):
        yield Stream("drawn steady", f"{share}", [], _drawn(draw, [share] * LONGEST))
    at = LONGEST // 2
    for low, high in ((0.02, 0.06), (0.02, 0.1), (0.1, 0.2), (0.1, 0.3), (0.2, 0.3), (0.3, 0.5), (0.35, 0.5)):
        name = f"{low} > {high}"
        yield Stream("drawn sudden", name, [], _drawn(draw, [low] * at + [high] * 2000), at)
        rising = [low + (high - low) * step / (2 * RAMP) for step in range(2 * RAMP)]
        yield Stream("drawn gradual", name, [], _drawn(draw, [low] * at + rising + [high] * 1000), at, 2 * RAMP)


def _stream(kind: str, name: str, rows: Labelled, at: int | None = None, ramp: int = 0) -> Stream:
    return Stream(kind, name, rows, outcomes_of(rows), at, ramp)


def _drawn(draw: random.Random, shares: Sequence[float]) -> Outcomes:
    return bytearray(draw.random() < share for share in shares)


def _rotated(rows: Labelled, part: float) -> dict[str, str]:
    """Map this part of the classes (at least two), most frequent first, each to the next."""
    names = [name for name, _ in Counter(label for _, label in rows).most_common()]
    moved = names[: max(2, int(len(names) * part))]
    return dict(zip(moved, moved[1:] + moved[:1], strict=True))


def _relabelled(rows: Labelled, new: dict[str, str], at: int, ramp: int, draw: random.Random) -> Labelled:
    """Give labels their new names from `at` on, at a share that reaches all after `ramp` rows."""
    return [(text, new.get(label, label) if i >= at and draw.random() * ramp <= i - at else label) for i, (text, label) in enumerate(rows)]


def _without_most_of_the_largest(rows: Labelled, at: int, draw: random.Random) -> Labelled:
    ((largest, _),) = Counter(label for _, label in rows).most_common(1)
    return rows[:at] + [row for row in rows[at:] if row[1] != largest or draw.random() < 0.1]
