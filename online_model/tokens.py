"""UTF-8 to tokens: case-folded words of any script, marks and emoji, with their hashes and counts.

A word is a run of letters, digits and combining marks. A mark of punctuation, a symbol and an emoji are tokens of their own;
an emoji takes along what modifies it (skin tone, variation, what is joined to it). Only the first `MAX_POINTS` code points of
a text are read: that bounds the time of a prediction, whatever the length of the text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online_model import blocks, characters
from online_model.blocks import Block
from online_model.characters import CLASS_SHIFT, DENSE, DIGIT, EMOJI, EXTEND, FOLDED, IGNORED, JOINER, LETTER, LONG_FOLD, MARK, SIZE, SPACE
from online_model.compiled import compiled

MAX_POINTS = 8192
"""How much of a text is read, in code points after case folding. Part of the model."""

WORD, SYMBOL, TAGGED = range(3)
"""Kinds of tokens: a word; a mark or an emoji; a mark with the word right after it, such as #word or @word."""

SECTIONS_USED = 16
"""Sections of a workspace that are the tokeniser's; others may come after them."""


class Tokens(NamedTuple):
    """The tokeniser's tables, and what it found in a text.

    Attributes:
        table: the characters (`characters.table`).
        expansions: the folded forms of several characters.
        points: the code points of the folded text.
        classes: their classes.
        starts: where each distinct token first starts in `points`; tokens come in order of first occurrence.
        ends: where it ends.
        kinds: WORD, SYMBOL or TAGGED.
        counts: how often it occurs.
        digits: 1 if it is a word with a digit, else 0.
        hashes: its hash; equal hashes are taken for equal tokens.
        pairs: the hash of each two words that follow one another.
        pair_starts: where the first word starts.
        pair_ends: where the second word ends.
        slots: an open-addressed hash table of the tokens' numbers.
        epochs: the text for which a slot was filled: the table need not be cleared.
        tally: see N_TOKENS …
    """

    table: blocks.Ints
    expansions: blocks.Ints
    points: blocks.Ints
    classes: blocks.Ints
    starts: blocks.Ints
    ends: blocks.Ints
    kinds: blocks.Ints
    counts: blocks.Ints
    digits: blocks.Ints
    hashes: blocks.Hashes
    pairs: blocks.Hashes
    pair_starts: blocks.Ints
    pair_ends: blocks.Ints
    slots: blocks.Ints
    epochs: blocks.Longs
    tally: blocks.Longs


N_TOKENS, N_PAIRS, N_WORDS, N_POINTS, EPOCH, MASK = range(6)
"""Places in the tally: distinct tokens; pairs; tokens in all, with the shapes of words with digits; code points; the number of the text;
the slots in use, less one."""

_SLOTS = 4 * MAX_POINTS  # more than twice the most tokens
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_WORD_SEED = np.uint64(0x243F6A8885A308D3)
_PAIR_SEED = np.uint64(0x13198A2E03707344)
_NO_WORD = np.uint64(0)
_SPAN = 2 * MAX_POINTS  # "#a#a…" has three tokens in two code points

SECTIONS = (
    (SIZE, np.int32),
    (512, np.int32),
    (_SPAN, np.int32),
    (_SPAN, np.int32),
    *[(_SPAN, np.int32)] * 5,
    (_SPAN, np.uint64),
    (_SPAN, np.uint64),
    *[(_SPAN, np.int32)] * 2,
    (_SLOTS, np.int32),
    (_SLOTS, np.int64),
    (8, np.int64),
)


_workspaces: dict[tuple[tuple[int, type], ...], Block] = {}


def workspace(more: tuple[tuple[int, type], ...] = ()) -> Block:
    """Return the workspace with further sections: one for the whole process, since a kernel never lets go of the GIL.

    It is never freed, since models keep its addresses only. Operators of several jobs open at the same time in one process:
    `setdefault` is atomic, so that all get the same one, and what others have made is dropped before anybody has its addresses.
    """
    found = _workspaces.get(more)
    return _workspaces.setdefault(more, _new(more)) if found is None else found


def _new(more: tuple[tuple[int, type], ...]) -> Block:
    block = Block((*SECTIONS, *more))
    block.arrays[0][:] = characters.table()
    block.arrays[1][: characters.expansions().size] = characters.expansions()
    return block


@compiled
def opened(at: blocks.Directory) -> Tokens:
    """Return the tokeniser's sections of a workspace."""
    return Tokens(
        blocks.ints(at, 0),
        blocks.ints(at, 1),
        blocks.ints(at, 2),
        blocks.ints(at, 3),
        blocks.ints(at, 4),
        blocks.ints(at, 5),
        blocks.ints(at, 6),
        blocks.ints(at, 7),
        blocks.ints(at, 8),
        blocks.hashes(at, 9),
        blocks.hashes(at, 10),
        blocks.ints(at, 11),
        blocks.ints(at, 12),
        blocks.ints(at, 13),
        blocks.longs(at, 14),
        blocks.longs(at, 15),
    )


@compiled
def tokenise(tokens: Tokens, data: bytes) -> None:
    """Find the tokens and pairs of the UTF-8 `data`; bytes that are no UTF-8 are read as some characters."""
    tally, points, classes = tokens.tally, tokens.points, tokens.classes
    tally[EPOCH] += 1
    tally[N_TOKENS] = tally[N_PAIRS] = tally[N_WORDS] = 0
    size = tally[N_POINTS] = _decode(tokens, data)
    slots = 64
    while slots < min(4 * size, _SLOTS):  # no more than are needed, so that they stay in the cache; folding may exceed MAX_POINTS by two
        slots *= 2
    tally[MASK] = slots - 1
    previous, previous_start, at = _NO_WORD, 0, 0
    while at < size:
        kind = classes[at]
        if kind in (SPACE, EXTEND):
            at += 1
        elif kind == MARK:
            _count(tokens, _hash(points, at, at + 1), SYMBOL, at, at + 1, 0)
            at += 1
        elif kind == EMOJI:
            end = _emoji_end(points, classes, at, size)
            _count(tokens, _hash(points, at, end), SYMBOL, at, end, 0)
            at = end
        else:
            end, digits = _word_end(classes, at, size)
            word = _hash(points, at, end)
            _count(tokens, word, WORD, at, end, digits)
            if at > 0 and (points[at - 1] == 0x23 or points[at - 1] == 0x40):  # "#" or "@"
                _count(tokens, _pair(np.uint64(points[at - 1]), word), TAGGED, at - 1, end, 0)
            if previous != _NO_WORD:
                _add_pair(tokens, _pair(previous, word), previous_start, end)
            previous, previous_start, at = word, at, end


@compiled
def _decode(tokens: Tokens, data: bytes) -> int:
    """Write the folded code points of `data` and their classes; return how many."""
    table, expansions, points, classes = tokens.table, tokens.expansions, tokens.points, tokens.classes
    size, at, count = len(data), 0, 0
    while at < size and count < MAX_POINTS:
        point = np.int64(data[at])
        length = 1
        if point >= 0xC0:
            length = 2 if point < 0xE0 else (3 if point < 0xF0 else 4)
            if at + length > size:
                break
            point &= 0xFF >> (length + 1)
            for i in range(1, length):
                point = (point << 6) | (np.int64(data[at + i]) & 0x3F)
        at += length
        entry = np.int64(table[point]) if point < SIZE else _beyond(int(point))
        kind = (entry >> CLASS_SHIFT) & 7
        if kind == IGNORED:
            continue
        if entry & LONG_FOLD:
            place = entry & (LONG_FOLD - 1) & FOLDED
            for i in range(expansions[place]):
                points[count], classes[count] = expansions[place + 1 + i], kind
                count += 1
        else:
            points[count], classes[count] = entry & FOLDED, kind
            count += 1
    return count


@compiled
def _beyond(point: int) -> int:
    """Return what the table would say of a code point beyond it."""
    kind = DENSE if point < 0x40000 else (IGNORED if 0xE0000 <= point < 0xE1000 else LETTER)
    if 0xE0020 <= point <= 0xE007F:  # tags: behind a black flag they spell a region
        kind = EXTEND
    return (kind << CLASS_SHIFT) | point


@compiled
def _emoji_end(points: blocks.Ints, classes: blocks.Ints, start: int, size: int) -> int:
    """Return where the emoji at `start` ends: after its modifiers, the emoji joined to it, or the second half of a flag."""
    at = start + 1
    while at < size:
        if points[at] == JOINER and at + 1 < size and classes[at + 1] == EMOJI:
            at += 2
        elif _modifies(points[at], classes[at]) or (at == start + 1 and _is_flag_half(points[start]) and _is_flag_half(points[at])):
            at += 1
        else:
            break
    return at


@compiled
def _modifies(point: int, kind: int) -> bool:
    """Whether a code point changes the emoji before it: a variation, a joiner, a skin tone."""
    return kind == EXTEND or 0x1F3FB <= point <= 0x1F3FF


@compiled
def _is_flag_half(point: int) -> bool:
    return 0x1F1E6 <= point <= 0x1F1FF


@compiled
def _word_end(classes: blocks.Ints, start: int, size: int) -> tuple[int, int]:
    """Return where the word at `start` ends, and 1 if it has a digit, else 0."""
    at, digits = start, 0
    while at < size and LETTER <= classes[at] <= EXTEND:
        if classes[at] == DIGIT:
            digits = 1
        at += 1
    return at, digits


@compiled
def mixed(state: np.uint64, point: int) -> np.uint64:
    """Return the hash state after one more code point."""
    state = (state ^ np.uint64(point)) * _GOLDEN
    return state ^ (state >> _HALF)


@compiled
def _hash(points: blocks.Ints, start: int, end: int) -> np.uint64:
    state = _WORD_SEED
    for i in range(start, end):
        state = mixed(state, points[i])
    return state


@compiled
def _pair(first: np.uint64, second: np.uint64) -> np.uint64:
    state = (first ^ _PAIR_SEED) * _GOLDEN
    state = ((state ^ (state >> _HALF)) + second) * _GOLDEN
    return state ^ (state >> _HALF)


@compiled
def _add_pair(tokens: Tokens, pair: np.uint64, start: int, end: int) -> None:
    at = tokens.tally[N_PAIRS]
    tokens.pairs[at], tokens.pair_starts[at], tokens.pair_ends[at] = pair, start, end
    tokens.tally[N_PAIRS] = at + 1


@compiled
def _count(tokens: Tokens, token: np.uint64, kind: int, start: int, end: int, digits: int) -> None:
    """Count one occurrence of a token."""
    tally, slots, epochs = tokens.tally, tokens.slots, tokens.epochs
    tally[N_WORDS] += 1 + digits
    mask = tally[MASK]
    slot = np.int64(token >> _HALF) & mask
    while epochs[slot] == tally[EPOCH]:
        if tokens.hashes[slots[slot]] == token:
            tokens.counts[slots[slot]] += 1
            return
        slot = (slot + 1) & mask
    at = tally[N_TOKENS]
    epochs[slot], slots[slot] = tally[EPOCH], at
    tokens.hashes[at], tokens.counts[at], tokens.kinds[at], tokens.digits[at] = token, 1, kind, digits
    tokens.starts[at], tokens.ends[at] = start, end
    tally[N_TOKENS] = at + 1
