"""From a text to the scores of the classes.

What a word adds, by its token, its shape and its n-grams, is kept until the model changes: words repeat, labels are rare
beside texts. It is computed in one order and one precision whether it was kept or not, so the bytes do not depend on it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from online_model import blocks, calibration
from online_model.compiled import compiled
from online_model.features import WEIGHTS, Features, add_ngrams, bias_row, factors, row_of, shape_row
from online_model.tokens import N_PAIRS, N_TOKENS, N_WORDS, WORD, Tokens, tokenise

BITS, WIDTH, CLASSES, VERSION = range(4)
"""Places in `Model.info`: rows are 2^BITS; columns of a row; classes; a number that is new after each change."""

SCORES = 10
"""Number of the section with the scores."""

LONGEST_KEPT = 24
"""Code points of the longest words that are kept."""

_BIAS = np.float32(WEIGHTS[0])
_RECORD = LONGEST_KEPT + 2  # n-grams, length, code points
_SUMS = 3  # tokens, pairs, n-grams


class Model(NamedTuple):
    """What the kernels know of a model.

    Attributes:
        info: see BITS …
        table: the weights, WIDTH to a row; columns beyond the classes are zero.
        squares: AdaGrad's sum of squares for each row.
        calibrator: see `online_model.calibration`.
        counts: the weights of the labels of each class.
        kept_hashes: hash of the word in each place; the last place is for words that are not kept.
        kept_versions: the version of the model that its sums belong to.
        kept_words: how many n-grams it has, its length, its code points.
        kept_sums: sums of the rows of its token and shape, then of its n-grams.
        sums: sums over the text: tokens, pairs, n-grams.
        scores: scores or probabilities of the classes.
        errors: what a label found wrong with the probability of each class.
    """

    info: blocks.Longs
    table: blocks.Floats
    squares: blocks.Floats
    calibrator: blocks.Doubles
    counts: blocks.Doubles
    kept_hashes: blocks.Hashes
    kept_versions: blocks.Longs
    kept_words: blocks.Ints
    kept_sums: blocks.Floats
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
        (kept + 1, np.uint64),
        (kept + 1, np.int64),
        ((kept + 1) * _RECORD, np.int32),
        ((kept + 1) * 2 * width, np.float32),
        (_SUMS * width, np.float32),
        (width, np.float64),
        (width, np.float32),
    ]


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
        blocks.longs(at, 6),
        blocks.ints(at, 7),
        blocks.floats(at, 8),
        blocks.floats(at, 9),
        blocks.doubles(at, 10),
        blocks.floats(at, 11),
    )


@compiled
def score_text(model: Model, found: Tokens, features: Features, data: bytes) -> None:
    """Write the scores of the classes for the UTF-8 text `data`."""
    tokenise(found, data)
    bits, width = model.info[BITS], model.info[WIDTH]
    sums = model.sums
    sums[:] = np.float32(0.0)
    ngrams = 0
    for number in range(found.tally[N_TOKENS]):
        count = found.counts[number]
        factor = np.float32(math.sqrt(count))
        if found.kinds[number] == WORD:
            place = _word(model, found, features, number)
            ngrams += count * model.kept_words[place * _RECORD]
            kept = 2 * place * width
            for c in range(width):
                sums[c] += factor * model.kept_sums[kept + c]
                sums[2 * width + c] += factor * model.kept_sums[kept + width + c]
        else:
            _add_row(model, row_of(found.hashes[number], bits), factor, 0)
    for number in range(found.tally[N_PAIRS]):
        _add_row(model, row_of(found.pairs[number], bits), np.float32(1.0), width)
    of_token, of_pair, of_ngram = factors(found.tally[N_WORDS], found.tally[N_PAIRS], ngrams)
    bias = bias_row(bits) * width
    for c in range(model.info[CLASSES]):
        model.scores[c] = (
            np.float64(_BIAS * model.table[bias + c])
            + of_token * np.float64(sums[c])
            + of_pair * np.float64(sums[width + c])
            + of_ngram * np.float64(sums[2 * width + c])
        )


@compiled
def _add_row(model: Model, row: int, factor: np.float32, to: int) -> None:
    """Add a row of the table to the sums from place `to` on."""
    width = model.info[WIDTH]
    start = row * width
    for c in range(width):
        model.sums[to + c] += factor * model.table[start + c]


@compiled
def _word(model: Model, found: Tokens, features: Features, number: int) -> int:
    """Return the place where the sums of a word are kept, after computing them if they are not."""
    word, version = found.hashes[number], model.info[VERSION]
    start, end = found.starts[number], found.ends[number]
    last = model.kept_hashes.size - 1
    place = last if end - start > LONGEST_KEPT else int(np.int64(word >> np.uint64(20))) & (last - 1)
    known = place < last and model.kept_versions[place] == version and model.kept_hashes[place] == word
    if known and _same_word(model, found, place, start, end):
        return place
    _sum_word(model, found, features, number, place)
    model.kept_hashes[place], model.kept_versions[place] = word, version
    return place


@compiled
def _same_word(model: Model, found: Tokens, place: int, start: int, end: int) -> bool:
    """Whether it is this word that is kept there, not another one with its hash: then bytes would depend on what came before."""
    record = place * _RECORD
    if model.kept_words[record + 1] != end - start:
        return False
    same = True
    for i in range(end - start):
        same &= model.kept_words[record + 2 + i] == found.points[start + i]
    return same


@compiled
def _sum_word(model: Model, found: Tokens, features: Features, number: int, place: int) -> None:
    bits, width, sums = model.info[BITS], model.info[WIDTH], model.kept_sums
    start, end = found.starts[number], found.ends[number]
    to = 2 * place * width
    row = row_of(found.hashes[number], bits) * width
    for c in range(width):
        sums[to + c] = model.table[row + c]
        sums[to + width + c] = np.float32(0.0)
    if found.digits[number]:
        row = shape_row(found, start, end, bits) * width
        for c in range(width):
            sums[to + c] += model.table[row + c]
    ngrams = add_ngrams(found, start, end, bits, features, 0)
    for i in range(ngrams):
        row = features.rows[i] * width
        for c in range(width):
            sums[to + width + c] += model.table[row + c]
    record = place * _RECORD
    model.kept_words[record] = ngrams
    if end - start <= LONGEST_KEPT:
        model.kept_words[record + 1] = end - start
        for i in range(end - start):
            model.kept_words[record + 2 + i] = found.points[start + i]


@compiled
def score_listed(model: Model, features: Features) -> None:
    """Write the scores of the classes for the features that are listed."""
    width = model.info[WIDTH]
    model.sums[:width] = np.float32(0.0)
    for i in range(features.tally[0]):
        _add_row(model, features.rows[i], features.values[i], 0)
    for c in range(model.info[CLASSES]):
        model.scores[c] = np.float64(model.sums[c])
