"""Tokens to features: words with marks, word pairs, and characters 3-5 inside word bounds, each group L2-normalised.

Every feature is a row of the model's table. Three groups have a norm of their own: tokens (a word with a digit counts as its
shape, too: "90s" as "00s"), word pairs, and the n-grams of the distinct words with their edges. In scripts with much in one
character, or without spaces between words, n-grams begin at two characters. A token that occurs n times has sqrt(n) times
the value. Since n-grams stay inside a word, what they add to the scores is a function of the word.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online_model import blocks, tokens
from online_model.characters import DENSE, DIGIT
from online_model.compiled import compiled
from online_model.tokens import MAX_POINTS, N_PAIRS, N_TOKENS, N_WORDS, SECTIONS_USED, WORD, Tokens

BIAS, TOKEN, SHAPE, PAIR, CHARACTERS, NAMED = range(6)
"""Kinds of features: the one that every text has; a token; a word's shape; two words; an n-gram; a named number of the caller's."""

LONGEST = 5
SHORTEST = 3
SHORTEST_DENSE = 2
"""Lengths of the n-grams, in characters; a word's edge counts as one."""

WEIGHTS = (1.0, 1.75, 1.1, 0.7)
"""Norms of the groups: bias, tokens, pairs, n-grams. Chosen by experiment, as everything here: docs/decisions.md."""

_BIAS, _TOKENS, _PAIRS, _CHARACTERS = WEIGHTS
_EDGE = 0x110000  # stands for a word's edge in n-grams; no code point has this value
_ZERO = 0x30
_MIX = np.uint64(0xD6E8FEB86659FD93)
_WORD_SEED = np.uint64(0x243F6A8885A308D3)
_SHAPE_SEED = np.uint64(0x452821E638D01377)
_NGRAM_SEED = np.uint64(0xA4093822299F31D0)
_BITS = np.uint64(64)

MOST = 16 * MAX_POINTS
"""More features than any text has: tokens, shapes, pairs, and four n-grams for each character."""

SECTIONS = ((MOST, np.int32), (MOST, np.float32), (MOST, np.int32), (MOST, np.int32), (MOST, np.int32), (8, np.int64))
COUNT = 0  # place in the tally of features


class Features(NamedTuple):
    """The features of a text.

    Attributes:
        rows: the row of each in the table.
        values: its value.
        kinds: BIAS … NAMED.
        starts: where it starts in `Tokens.points`; less than its token's start if it begins with the edge.
        ends: where it ends there.
        tally: how many there are.
    """

    rows: blocks.Ints
    values: blocks.Floats
    kinds: blocks.Ints
    starts: blocks.Ints
    ends: blocks.Ints
    tally: blocks.Longs


def workspace() -> blocks.Block:
    """Return the arrays in which texts are taken apart, one set for the process."""
    return tokens.workspace(SECTIONS)


@compiled
def opened(at: blocks.Directory) -> Features:
    """Return the sections of a workspace that hold features."""
    first = SECTIONS_USED
    return Features(
        blocks.ints(at, first),
        blocks.floats(at, first + 1),
        blocks.ints(at, first + 2),
        blocks.ints(at, first + 3),
        blocks.ints(at, first + 4),
        blocks.longs(at, first + 5),
    )


@compiled
def row_of(state: np.uint64, bits: int) -> int:
    """Return the row that a hash state selects among 2^bits: the highest bits, so that rows 2r and 2r + 1 fold to row r."""
    if bits == 0:
        return 0
    return int(np.int64((state * _MIX) >> (_BITS - np.uint64(bits))))


@compiled
def bias_row(bits: int) -> int:
    """Return the row of the feature that every text has."""
    return row_of(_SHAPE_SEED, bits)


@compiled
def shape_row(found: Tokens, start: int, end: int, bits: int) -> int:
    """Return the row of a word's shape: its letters, with 0 for each digit."""
    state = _SHAPE_SEED
    for i in range(start, end):
        state = tokens.mixed(state, _ZERO if found.classes[i] == DIGIT else found.points[i])
    return row_of(state, bits)


@compiled
def add_ngrams(found: Tokens, start: int, end: int, bits: int, features: Features, at: int) -> int:
    """List the n-grams of a word from place `at` on; return the place after them."""
    for first in range(start - 1, end):
        state = _NGRAM_SEED
        shortest = SHORTEST_DENSE if first >= start and found.classes[first] == DENSE else SHORTEST
        for i in range(first, min(first + LONGEST, end + 1)):
            state = tokens.mixed(state, found.points[i] if start <= i < end else _EDGE)
            if i - first + 1 >= shortest:
                features.rows[at] = row_of(state, bits)
                features.starts[at], features.ends[at] = first, i + 1
                at += 1
    return at


@compiled
def _add(features: Features, at: int, row: int, value: float, kind: int, start: int, end: int) -> int:
    features.rows[at], features.values[at], features.kinds[at] = row, value, kind
    features.starts[at], features.ends[at] = start, end
    return at + 1


@compiled
def add_bias(bits: int, features: Features) -> None:
    """List the feature that every text has, and no other."""
    features.tally[COUNT] = _add(features, 0, bias_row(bits), _BIAS, BIAS, 0, 0)


@compiled
def factors(n_tokens: int, n_pairs: int, n_ngrams: int) -> tuple[float, float, float]:
    """Return what the values of tokens, pairs and n-grams are multiplied by, given how many occurrences there are of each."""
    return (_TOKENS / math.sqrt(max(n_tokens, 1)), _PAIRS / math.sqrt(max(n_pairs, 1)), _CHARACTERS / math.sqrt(max(n_ngrams, 1)))


@compiled
def add_all(found: Tokens, bits: int, features: Features) -> None:
    """List the features of the text that was tokenised last."""
    add_bias(bits, features)
    at, ngrams = 1, 0
    for number in range(found.tally[N_TOKENS]):
        start, end, count = found.starts[number], found.ends[number], found.counts[number]
        value = math.sqrt(count)
        at = _add(features, at, row_of(found.hashes[number], bits), value, TOKEN, start, end)
        if found.digits[number]:
            at = _add(features, at, shape_row(found, start, end, bits), value, SHAPE, start, end)
        if found.kinds[number] == WORD:
            after = add_ngrams(found, start, end, bits, features, at)
            ngrams += count * (after - at)
            for i in range(at, after):
                features.values[i], features.kinds[i] = value, CHARACTERS
            at = after
    of_token, of_pair, of_ngram = factors(found.tally[N_WORDS], found.tally[N_PAIRS], ngrams)
    for i in range(1, at):
        features.values[i] *= np.float32(of_ngram if features.kinds[i] == CHARACTERS else of_token)
    for number in range(found.tally[N_PAIRS]):
        row = row_of(found.pairs[number], bits)
        at = _add(features, at, row, of_pair, PAIR, found.pair_starts[number], found.pair_ends[number])
    features.tally[COUNT] = at
