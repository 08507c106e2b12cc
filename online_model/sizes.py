"""How many columns and rows a model has within its memory."""

from __future__ import annotations

import numpy as np

from online_model import scoring


def capacity_for(classes: int) -> int:
    """Return the columns of a table for so many classes: powers of two up to 32, then also those times one and a half.

    >>> [capacity_for(n) for n in (0, 3, 8, 9, 17, 33, 49, 77, 151, 10_000)]
    [2, 4, 8, 16, 32, 48, 64, 96, 192, 12288]
    """
    capacity = 2
    while capacity < classes:
        capacity = capacity * 4 // 3 if (capacity // 3) * 3 == capacity else (capacity * 2 if capacity < 32 else capacity * 3 // 2)
    return capacity


def sizes(memory_mib: int, capacity: int) -> tuple[int, int]:
    """Return how many rows fit, as a power of two, and how many words are kept.

    >>> sizes(64, 2), sizes(64, 8), sizes(64, 96), sizes(64, 12288), sizes(1, 8)
    ((22, 8192), (20, 8192), (17, 8192), (10, 64), (14, 512))
    """
    budget = memory_mib * 2**20
    kept = 1
    while kept < 8192 and _bytes(0, capacity, 2 * kept) <= budget // 8:
        kept *= 2
    bits = 0
    while _bytes(bits + 1, capacity, kept) <= budget:
        bits += 1
    return bits, kept


def _bytes(bits: int, capacity: int, kept: int) -> int:
    return sum(count * np.dtype(dtype).itemsize + 64 for count, dtype in scoring.sections(bits, capacity, kept))
