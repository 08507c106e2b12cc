"""From a text to the scores of the classes.

What a word adds, by its token, its shape and its n-grams, is kept until the model changes: words repeat, labels are rare
beside texts. It is computed in one order and one precision whether it was kept or not, so the bytes do not depend on it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from online_model import blocks, calibration
from online_model.blocks import fetch_early
from online_model.compiled import compiled
from online_model.features import WEIGHTS, Features, add_ngrams, bias_row, factors, row_of, shape_row
from online_model.tokens import N_PAIRS, N_TOKENS, N_WORDS, WORD, Tokens, tokenise

BITS, WIDTH, CLASSES, VERSION, KEPT = range(5)
"""Places in `Model.info`: rows are 2^BITS; columns of a row; classes; a number that is new after each change; words kept."""

CALIBRATOR, SCORES = 3, 7
"""Numbers of the sections with the calibrator and the scores."""

LONGEST_KEPT = 26
"""Code points of the longest words that are kept."""

_BIAS = np.float32(WEIGHTS[0])
_SUMS = 3  # tokens, pairs, n-grams
_LINE = 8  # a cache line, in items of 8 bytes

# The record of a kept word, in items of 8 bytes: its hash; the version of the model that its sums belong to; how many n-grams it has and
# its length (int32); its code points (int32), to the end of the second line; the sums (float32) of the rows of its token and shape,
# then of its n-grams.
_HASH, _VERSION, _SIZES, _POINTS, _ITS_SUMS = 0, 1, 2, 3, 16


class Model(NamedTuple):
    """What the kernels know of a model: a section each.

    Attributes:
        info: see BITS …
        table: the weights, WIDTH to a row; columns beyond the classes are zero.
        squares: AdaGrad's sum of squares for each row.
        calibrator: see `online_model.calibration`.
        counts: the weights of the labels of each class.
        kept: a record of each word that is kept, at a place that its hash selects; a last one for a word that is not.
        sums: sums over the text: tokens, pairs, n-grams.
        scores: scores or probabilities of the classes.
        errors: what a label found wrong with the probability of each class.
    """

    info: blocks.Longs
    table: blocks.Floats
    squares: blocks.Floats
    calibrator: blocks.Doubles
    counts: blocks.Doubles
    kept: blocks.Hashes
    sums: blocks.Floats
    scores: blocks.Doubles
    errors: blocks.Floats


def sections(bits: int, width: int, kept: int) -> list[tuple[int, Any]]:
    """Return the sections of a model with 2^bits rows of `width` columns that keeps `kept` words, a power of two."""
    return [
        (8, np.int64),
        (width << bits, np.float32),
        (1 << bits, np.float32),
        (calibration.STATE_SIZE, np.float64),
        (width, np.float64),
        ((kept + 1) * record_size(width), np.uint64),
        (_SUMS * width, np.float32),
        (width, np.float64),
        (width, np.float32),
    ]


@compiled
def record_size(width: int) -> int:
    """Return the size of the record of a kept word, in items of 8 bytes."""
    return -(-(_ITS_SUMS + width) // _LINE) * _LINE


@compiled
def opened(at: blocks.Directory) -> Model:
    """Return the sections of a model."""
    return Model(
        blocks.longs(at, 0),
        blocks.floats(at, 1),
        blocks.floats(at, 2),
        blocks.doubles(at, 3),
        blocks.doubles(at, 4),
        blocks.hashes(at, 5),
        blocks.floats(at, 6),
        blocks.doubles(at, 7),
        blocks.floats(at, 8),
    )


@compiled
def score_text(model: Model, found: Tokens, features: Features, data: bytes) -> None:
    """Write the scores of the classes for the UTF-8 text `data`."""
    tokenise(found, data)
    bits, width, sums = model.info[BITS], model.info[WIDTH], model.sums
    n_tokens, n_pairs, ngrams = found.tally[N_TOKENS], found.tally[N_PAIRS], 0
    kept_ints, kept_sums = blocks.as_ints(model.kept), blocks.as_floats(model.kept)
    _fetch_early(model, found)
    for c in range(_SUMS * width):
        sums[c] = np.float32(0.0)
    for number in range(n_tokens):
        count = found.counts[number]
        factor = np.float32(math.sqrt(count))
        if found.kinds[number] == WORD:
            place = _word(model, found, features, number)
            ngrams += count * kept_ints[2 * (place + _SIZES)]
            _add(sums, 0, kept_sums, 2 * (place + _ITS_SUMS), factor, width)
            _add(sums, 2 * width, kept_sums, 2 * (place + _ITS_SUMS) + width, factor, width)
        else:
            _add(sums, 0, model.table, row_of(found.hashes[number], bits) * width, factor, width)
    for number in range(n_pairs):
        _add(sums, width, model.table, row_of(found.pairs[number], bits) * width, np.float32(1.0), width)
    of_token, of_pair, of_ngram = factors(found.tally[N_WORDS], n_pairs, ngrams)
    bias = bias_row(bits) * width
    for c in range(model.info[CLASSES]):
        model.scores[c] = (
            np.float64(_BIAS * model.table[bias + c])
            + of_token * np.float64(sums[c])
            + of_pair * np.float64(sums[width + c])
            + of_ngram * np.float64(sums[2 * width + c])
        )


@compiled
def _fetch_early(model: Model, found: Tokens) -> None:
    """Ask for the memory that will be read, so that its delays overlap."""
    bits, width, size, mask = model.info[BITS], model.info[WIDTH], record_size(model.info[WIDTH]), model.info[KEPT] - 1
    for number in range(found.tally[N_TOKENS]):
        if found.kinds[number] == WORD:
            place = _place(found.hashes[number], mask) * size
            fetch_early(model.kept, place)
            fetch_early(model.kept, place + _ITS_SUMS)
    for number in range(found.tally[N_PAIRS]):
        fetch_early(model.table, row_of(found.pairs[number], bits) * width)


@compiled
def _place(word: np.uint64, mask: int) -> int:
    """Return which record a word may have."""
    return int(np.int64(word >> np.uint64(20)) & mask)


@compiled
def _add(sums: blocks.Floats, to: int, rows: blocks.Floats, start: int, factor: np.float32, width: int) -> None:
    """Add a row, multiplied, to the sums from place `to` on."""
    for c in range(width):
        sums[to + c] += factor * rows[start + c]


@compiled
def _word(model: Model, found: Tokens, features: Features, number: int) -> int:
    """Return where the record of a word begins, after computing its sums if they are not there."""
    word, version, kept = found.hashes[number], np.uint64(model.info[VERSION]), model.kept
    start, end, size, last = found.starts[number], found.ends[number], record_size(model.info[WIDTH]), model.info[KEPT]
    if end - start > LONGEST_KEPT:
        _sum_word(model, found, features, number, last * size)
        return int(last * size)
    place = _place(word, last - 1) * size
    if kept[place + _HASH] != word or kept[place + _VERSION] != version or not _same_word(model, found, place, start, end):
        _sum_word(model, found, features, number, place)
        _keep(model, found, place, start, end)
        kept[place + _HASH], kept[place + _VERSION] = word, version
    return int(place)


@compiled
def _same_word(model: Model, found: Tokens, place: int, start: int, end: int) -> bool:
    """Whether it is this word that is kept there, not another one with its hash: then bytes would depend on what came before."""
    kept, points = blocks.as_ints(model.kept), found.points
    if kept[2 * (place + _SIZES) + 1] != end - start:
        return False
    place = 2 * (place + _POINTS)
    for i in range(end - start):  # noqa: SIM110 - numba has no generators in `all`
        if kept[place + i] != points[start + i]:
            return False
    return True


@compiled
def _keep(model: Model, found: Tokens, place: int, start: int, end: int) -> None:
    kept, points = blocks.as_ints(model.kept), found.points
    kept[2 * (place + _SIZES) + 1] = end - start
    place = 2 * (place + _POINTS)
    for i in range(end - start):
        kept[place + i] = points[start + i]


@compiled
def _sum_word(model: Model, found: Tokens, features: Features, number: int, place: int) -> None:
    """Write the sums of a word and the number of its n-grams to the record that begins at `place`."""
    bits, width, table, sums = model.info[BITS], model.info[WIDTH], model.table, blocks.as_floats(model.kept)
    start, end = found.starts[number], found.ends[number]
    to, one = 2 * (place + _ITS_SUMS), np.float32(1.0)
    for c in range(2 * width):
        sums[to + c] = np.float32(0.0)
    _add(sums, to, table, row_of(found.hashes[number], bits) * width, one, width)
    if found.digits[number]:
        _add(sums, to, table, shape_row(found, start, end, bits) * width, one, width)
    ngrams = add_ngrams(found, start, end, bits, features, 0)
    for i in range(ngrams):
        _add(sums, to + width, table, np.int64(features.rows[i]) * width, one, width)
    blocks.as_ints(model.kept)[2 * (place + _SIZES)] = ngrams


@compiled
def score_listed(model: Model, features: Features) -> None:
    """Write the scores of the classes for the features that are listed."""
    width, sums, rows, values = model.info[WIDTH], model.sums, features.rows, features.values
    for c in range(width):
        sums[c] = np.float32(0.0)
    for i in range(features.tally[0]):
        _add(sums, 0, model.table, np.int64(rows[i]) * width, values[i], width)
    for c in range(model.info[CLASSES]):
        model.scores[c] = np.float64(sums[c])
