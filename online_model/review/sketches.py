"""Texts as 256 bits: how many differ says how unlike two texts are, at the cost of a few machine instructions.

The bits are the signs of random projections of the model's own features (words, pairs, n-grams): the share that differs estimates the angle
between two texts (Charikar, "Similarity Estimation Techniques from Rounding Algorithms", 2002). The features are first summed by hash into
256 numbers, then turned by a Hadamard matrix with random signs, so that a text costs its features and one row of a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from online_model.softmax import HashedSoftmax

BITS = 256
WORDS = BITS // 64

Sketches = npt.NDArray[np.uint64]
"""Shape (texts, WORDS), or (WORDS,) for one."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TO_BIN, _TO_SIGN = np.uint64(56), np.uint64(55)


class Sketcher:
    """Makes sketches. The same text gives the same sketch, whatever any model has learned."""

    def __init__(self) -> None:
        self._features = HashedSoftmax(memory_mib=1)

    def sketches(self, texts: Sequence[str]) -> Sketches:
        """Return a sketch of each text."""
        sums = np.empty((len(texts), BITS), np.float32)
        for number, text in enumerate(texts):
            rows, values = self._features.features_of(text)
            # The first feature is the bias, which all texts have.
            mixed = rows[1:].astype(np.uint64) * _GOLDEN
            signed = values[1:] * np.where(mixed >> _TO_SIGN & np.uint64(1), np.float32(1), np.float32(-1))
            sums[number] = np.bincount((mixed >> _TO_BIN).astype(np.int64), weights=signed, minlength=BITS)
        turned = sums @ _rotation()
        return np.packbits(turned > 0, axis=1).view(np.uint64).reshape(len(texts), WORDS)


def distances(many: Sketches, one: Sketches) -> npt.NDArray[np.float32]:
    """Return how unlike sketches are: 0 for equal features, 1 for none in common.

    >>> distances(np.zeros((1, WORDS), np.uint64), np.array([0, 0, 0, 2**32 - 1], np.uint64)).tolist()
    [0.25]
    """
    differing = np.bitwise_count(many ^ one).sum(axis=-1, dtype=np.int32)
    unlike: npt.NDArray[np.float32] = np.minimum(differing.astype(np.float32) / (BITS / 2), np.float32(1))
    return unlike


@lru_cache(maxsize=1)
def _rotation() -> npt.NDArray[np.float32]:
    """Return a Hadamard matrix whose rows have random signs, always the same ones."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < BITS:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    mixed = np.arange(1, BITS + 1, dtype=np.uint64) * _GOLDEN
    turned: npt.NDArray[np.float32] = matrix * np.where(mixed >> np.uint64(63), np.float32(1), np.float32(-1))[:, None]
    return turned
