"""Text to hashed features: words with marks, word pairs, and characters 2-5 inside word bounds, each group L2-normalised.

Works on any script. A word is a run of code points between boundaries. Boundaries are the ASCII characters other than
letters and digits, and the common Unicode spaces and punctuation marks; everything else (letters of any script,
combining marks, emoji) belongs to words. A boundary other than a space ("!", "#", "…") is a feature too, in the words'
group, and pairs reach across it. Only the first `MAX_CODE_POINTS` code points of a text are read: that bounds the time
of a prediction, whatever the length of the text.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online_model.compiled import compiled

MAX_CODE_POINTS = 8192
"""How much of a text is read. Part of the model: a change needs a new snapshot format."""

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint32]
Values = npt.NDArray[np.float32]

_GROUPS = 3  # words, word pairs, characters
_EDGE = 0x110000  # stands for a word's edge in character n-grams; no code point has this value
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SEED = np.array([0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0], dtype=np.uint64)
_SHIFT = np.uint64(32)


class _Counter(NamedTuple):
    """An open-addressed hash table: `slots` holds indexes + 1 into the arrays of features, 0 where free."""

    slots: npt.NDArray[np.int32]
    hashes: Hashes
    counts: Values
    groups: Bytes
    used: npt.NDArray[np.int64]


def extract(text: str) -> tuple[Hashes, Values]:
    """Return the hash (32 bits) and the value of each distinct feature of `text`, in order of first occurrence.

    A value is the square root of the feature's count, divided by the L2 norm of its group.

    >>> hashes, values = extract("Ab ab")
    >>> len(hashes), [round(float(v), 3) for v in values]
    (8, [1.0, 0.408, 0.408, 0.408, 0.408, 0.408, 0.408, 1.0])
    >>> extract("  ")[0].size
    0
    """
    data = text[:MAX_CODE_POINTS].casefold().encode(errors="surrogatepass")
    return _extract(np.frombuffer(data, dtype=np.uint8))


@compiled
def _decode(data: Bytes, points: npt.NDArray[np.int32]) -> int:
    """Write the code points of UTF-8 `data` to `points`: 0 for a space, negative for a mark; return how many."""
    count = 0
    at = 0
    while at < data.size:
        lead = int(data[at])
        length = 1 if lead < 0x80 else (2 if lead < 0xE0 else (3 if lead < 0xF0 else 4))
        point = lead if length == 1 else lead & (0xFF >> (length + 1))
        for i in range(1, length):
            point = (point << 6) | (int(data[at + i]) & 0x3F)
        if _is_space(point):
            points[count] = 0
        else:
            points[count] = -point if _is_mark(point) else point
        at += length
        count += 1
    return count


@compiled
def _is_space(point: int) -> bool:
    """Whether a code point is a space or a control character (the common ones)."""
    return point <= 0x20 or 0x80 <= point <= 0xA0 or 0x2000 <= point <= 0x200B or 0x2028 <= point <= 0x202F or point == 0x3000


@compiled
def _is_mark(point: int) -> bool:
    """Whether a code point is punctuation or a symbol between words (the common ones; joiners are not)."""
    if point < 0x80:
        return not (0x30 <= point <= 0x39 or 0x61 <= point <= 0x7A or 0x41 <= point <= 0x5A)
    if point < 0x2000:
        return point <= 0xBF and point not in (0xAA, 0xB5, 0xBA)
    if point < 0x2070:
        return point not in (0x200C, 0x200D)
    if point < 0xFF00:
        return 0x3001 <= point <= 0x3003 or 0x3008 <= point <= 0x3020 or point in (0x3030, 0x30FB)
    return point <= 0xFF0F or 0xFF1A <= point <= 0xFF20 or 0xFF3B <= point <= 0xFF40 or 0xFF5B <= point <= 0xFF65


@compiled
def _add(state: np.uint64, point: int) -> np.uint64:
    """Return the hash state after one more code point."""
    state = (state ^ np.uint64(point)) * _GOLDEN
    return state ^ (state >> _SHIFT)


@compiled
def _count(state: np.uint64, group: int, counter: _Counter) -> None:
    """Count one occurrence of the feature with this hash state."""
    state = (state ^ (state >> _SHIFT)) * _MIX
    state = (state ^ (state >> _SHIFT)) * _MIX
    key = np.uint32(state >> _SHIFT)
    mask = counter.slots.size - 1
    slot = np.int64(key) & mask
    while counter.slots[slot] != 0:
        index = counter.slots[slot] - 1
        if counter.hashes[index] == key:
            counter.counts[index] += np.float32(1.0)
            return
        slot = (slot + 1) & mask
    used = counter.used[0]
    counter.slots[slot] = used + 1
    counter.hashes[used] = key
    counter.counts[used] = np.float32(1.0)
    counter.groups[used] = group
    counter.used[0] = used + 1


@compiled
def _count_characters(points: npt.NDArray[np.int32], start: int, end: int, counter: _Counter) -> None:
    """Count the n-grams of 2 to 5 characters of the word `points[start:end]` with its two edges."""
    for first in range(start - 1, end):
        state = _SEED[2]
        for i in range(first, min(first + 5, end + 1)):
            state = _add(state, points[i] if start <= i < end else _EDGE)
            if i > first:
                _count(state, 2, counter)


@compiled
def _count_all(points: npt.NDArray[np.int32], size: int, counter: _Counter) -> None:
    """Count the features of `points[:size]`; `points[size]` must be 0, so that the last word ends."""
    start = 0
    previous = np.uint64(0)
    for at in range(size + 1):
        if points[at] > 0:
            continue
        if at > start:
            word = _SEED[0]
            for i in range(start, at):
                word = _add(word, points[i])
            _count(word, 0, counter)
            if previous != 0:
                _count((previous * _GOLDEN ^ word) * _GOLDEN ^ _SEED[1], 1, counter)
            previous = word
            _count_characters(points, start, at, counter)
        if points[at] < 0:
            _count(_add(_SEED[0], -points[at]), 0, counter)
        start = at + 1


@compiled
def _extract(data: Bytes) -> tuple[Hashes, Values]:
    points = np.empty(data.size + 1, np.int32)
    size = _decode(data, points)
    points[size] = 0
    bound = 6 * size + 1  # a word of n code points has at most 4n n-grams, 1 word, 1 pair
    capacity = 64
    while capacity < 2 * bound:
        capacity *= 2
    counter = _Counter(
        np.zeros(capacity, np.int32),
        np.empty(bound, np.uint32),
        np.empty(bound, np.float32),
        np.empty(bound, np.uint8),
        np.zeros(1, np.int64),
    )
    _count_all(points, size, counter)
    used = counter.used[0]
    return counter.hashes[:used].copy(), _normalise(counter.counts[:used], counter.groups[:used])


@compiled
def _normalise(counts: Values, groups: Bytes) -> Values:
    """Return the square roots of the counts, each divided by the norm of its group."""
    squares = np.zeros(_GROUPS, np.float64)
    for i in range(counts.size):
        squares[groups[i]] += np.float64(counts[i])
    norms = np.sqrt(squares)
    values = np.empty(counts.size, np.float32)
    for i in range(counts.size):
        count = np.float64(counts[i])
        values[i] = (1.0 if count == 1.0 else math.sqrt(count)) / norms[groups[i]]
    return values
