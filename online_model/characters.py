"""What each code point is to the tokeniser, and its case-folded form: one table, from Python's Unicode database.

The classes follow Unicode's general categories; words are runs of letters, digits and the marks that combine with them, in
any script. Case folding is full (Unicode 14's CaseFolding.txt, as `str.casefold`): "ß" becomes "ss".
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

SPACE, MARK, LETTER, DENSE, DIGIT, EXTEND, EMOJI, IGNORED = range(8)
"""Classes: a separator; punctuation or a symbol, a token of its own; a letter; a letter of a script with much in one
character or without spaces between words; a decimal digit; a mark that belongs to what it follows; an emoji or pictograph;
a code point that is left out, such as a soft hyphen."""

JOINER = 0x200D
"""Zero width joiner: it joins emoji to one; elsewhere it belongs to its word."""

ZERO_WIDTH_SPACE = 0x200B
"""It stands between words in scripts that show no space there."""

UNICODE = unicodedata.unidata_version
"""Version of the Unicode database; part of a model's settings, since another one may split and fold otherwise."""

SIZE = 0x20000
"""Code points in the table; those beyond are ideographs, private ones, or unassigned."""

CLASS_SHIFT = 24
FOLDED = (1 << CLASS_SHIFT) - 1
LONG_FOLD = 1 << 28
"""Flag: the folded form has several code points, and the low bits are its place in `expansions()`."""

DENSE_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul jamo
    (0x1780, 0x17FF),  # Khmer
    (0x1980, 0x19DF),  # New Tai Lue
    (0x3040, 0x31FF),  # kana, bopomofo, jamo
    (0x3400, 0x9FFF),  # ideographs
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Hangul syllables
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),  # halfwidth kana and Hangul
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
EMOJI_RANGES = ((0x2300, 0x23FF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F000, 0x1FAFF))

Codes = npt.NDArray[np.int32]


@cache
def table() -> Codes:
    """Return, for each code point below `SIZE`, its class (from bit 24 on) and its folded form (below)."""
    return _built()[0]


@cache
def expansions() -> Codes:
    """Return the folded forms of several code points, each preceded by its length."""
    return _built()[1]


@cache
def _built() -> tuple[Codes, Codes]:
    codes: list[int] = []
    expanded: list[int] = []
    for character in map(chr, range(SIZE)):
        folded = character.casefold()
        kind = classify(folded[0]) << CLASS_SHIFT  # U+0345 is a mark that folds to a letter: a word either way
        if len(folded) == 1:
            codes.append(kind | ord(folded))
        else:
            codes.append(kind | LONG_FOLD | len(expanded))
            expanded += [len(folded), *map(ord, folded)]
    return np.array(codes, np.int32), np.array(expanded, np.int32)


def classify(character: str) -> int:
    r"""Return the class of a character.

    >>> [classify(c) for c in " !aก1"] == [SPACE, MARK, LETTER, DENSE, DIGIT]
    True
    >>> [classify(c) for c in "\u0301\u200d😀\u00ad"] == [EXTEND, EXTEND, EMOJI, IGNORED]
    True
    """
    point = ord(character)
    category = unicodedata.category(character)
    if category[0] == "Z" or category == "Cc" or point == ZERO_WIDTH_SPACE:
        return SPACE
    if category == "Cf":
        return EXTEND if point in (0x200C, JOINER) else IGNORED
    if category[0] == "M":
        return DENSE if _within(point, DENSE_RANGES) else EXTEND
    if category[0] in "PS":
        return EMOJI if category != "Sm" and _within(point, EMOJI_RANGES) else MARK
    if category == "Nd":
        return DIGIT
    return DENSE if _within(point, DENSE_RANGES) else LETTER


def _within(point: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    """Whether one of the ranges, which are in order, holds the code point."""
    for first, last in ranges:
        if point <= last:
            return point >= first
    return False
