"""Why a class got its score: what each feature of a text adds to it, in words, although the features are hashed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from online_model import features

EDGES = "‹›"
"""Stand for a word's beginning and end in n-grams."""


class Kind(StrEnum):
    """What a feature is made from, in the order of `features.BIAS` …."""

    BIAS = "bias"
    WORD = "word"
    SHAPE = "shape"
    PAIR = "pair"
    CHARACTERS = "characters"
    NAMED = "named"


class Contribution(msgspec.Struct, frozen=True):
    """What a feature adds to the logit.

    Attributes:
        kind: what it is made from.
        text: the part of the case-folded text, or the name of a named feature; empty for the bias, which every text has.
        value: what it adds.
    """

    kind: Kind
    text: str
    value: float


class Explanation(msgspec.Struct, frozen=True):
    """Why a class got its score.

    Attributes:
        label: the class.
        logit: its score before calibration; the softmax of all classes' logits gives uncalibrated probabilities.
        contributions: their values sum to the logit, up to the rounding of float32; the largest first, by their absolute values.
    """

    label: Any
    logit: float
    contributions: list[Contribution]


class Listed(NamedTuple):
    """The features of a text, as `kernels.listed` returns them."""

    rows: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    points: npt.NDArray[np.int32]


def explained(label: Any, named: Iterator[tuple[Kind, str]], values: npt.NDArray[np.float64]) -> Explanation:
    """Return the explanation made of what each feature is called and adds; features of one name become one contribution.

    >>> explained("a", iter([(Kind.WORD, "x"), (Kind.PAIR, "x y"), (Kind.WORD, "x")]), np.array([1.0, -5.0, 2.0]))
    Explanation(label='a', logit=-2.0, contributions=[Contribution(kind=<Kind.PAIR: 'pair'>, text='x y', value=-5.0), \
Contribution(kind=<Kind.WORD: 'word'>, text='x', value=3.0)])
    """
    sums: dict[tuple[Kind, str], float] = {}
    for name, value in zip(named, values.tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + value
    found = [Contribution(kind, text, value) for (kind, text), value in sums.items()]
    return Explanation(label, float(values.sum()), sorted(found, key=lambda c: -abs(c.value)))


def names_of(listed: Listed) -> Iterator[tuple[Kind, str]]:
    """Yield kind and text of each feature of a text."""
    text = "".join(map(chr, listed.points.tolist()))
    kinds = list(Kind)
    first = last = 0
    for number, start, end in zip(listed.kinds.tolist(), listed.starts.tolist(), listed.ends.tolist(), strict=True):
        if number == features.CHARACTERS:
            # Its word was listed before it; what lies beyond the word is its edge.
            part = text[max(start, first) : min(end, last)]
            yield kinds[number], (EDGES[0] if start < first else "") + part + (EDGES[1] if end > last else "")
        else:
            first, last = start, end
            yield kinds[number], _shape(text[start:end]) if number == features.SHAPE else text[start:end]


def _shape(word: str) -> str:
    return "".join("0" if c.isdecimal() else c for c in word)
