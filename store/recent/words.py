"""Texts and searches as tokens: words of any script, single characters where a script shows no spaces. Pure.

SQLite's `unicode61` splits at what is no letter, digit, mark or symbol. Chinese, Japanese, Thai and others have no spaces for it to split
at, so a space is put around each of their characters; a searched word of such a script becomes a phrase of characters and is found
wherever it stands. They are the characters that the engine's tokeniser treats so (`online_model.characters`); Hangul is among them,
as in Lucene's CJKAnalyzer, since particles are attached to its words. Emoji are tokens of their own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import msgspec

from online_model.characters import DENSE_RANGES, EMOJI_RANGES

TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* M* So Co'"
"""For FTS5. Marks belong to their words (Devanagari's vowels are marks); emoji (So) are tokens; accents of Latin letters do not count."""

MOST_WORDS = 32
"""Words and phrases of one search."""

_ALONE = re.compile("([" + "".join(f"{chr(low)}-{chr(high)}" for low, high in (*DENSE_RANGES, *EMOJI_RANGES)) + "])")
_PART = re.compile(r'(?P<minus>-?)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))(?P<star>\*?)')
_TOKEN_KINDS = frozenset({"L", "N", "M"})
_TOKEN_CATEGORIES = frozenset({"So", "Co"})


class InvalidSearch(ValueError):
    """There is nothing in the search that could be looked for."""


class Search(msgspec.Struct, frozen=True):
    """A search as FTS5 understands it."""

    match: str


def spaced(text: str) -> str:
    """Return a text for the index: folded, with spaces around the characters of scripts without spaces.

    >>> spaced("Straße 東京に")
    'strasse  東  京  に '
    """
    if text.isascii():
        return text
    return " ".join(_ALONE.split(unicodedata.normalize("NFKC", text).casefold()))


def parse_search(text: str) -> Search:
    """Return the search in `text`: words that must all occur, "phrases", beginnings*, and -words that must not.

    Nothing in it is an error of syntax: a quote that is not closed ends with the text, other signs separate words.

    Raises:
        InvalidSearch: if no word is wanted, or they are too many.

    >>> parse_search('refund "my card" -visa pay*').match
    '("refund" AND "my card" AND "pay" *) NOT "visa"'
    """
    wanted: list[str] = []
    unwanted: list[str] = []
    for part in _PART.finditer(text.replace("\0", " ")):
        term = _term(part)
        if term is not None:
            (unwanted if part["minus"] else wanted).append(term)
    if not wanted:
        raise InvalidSearch("no word to look for: give at least one that is not excluded with -")
    if len(wanted) + len(unwanted) > MOST_WORDS:
        raise InvalidSearch(f"more than {MOST_WORDS} words and phrases")
    match = f"({' AND '.join(wanted)})"
    for term in unwanted:
        match = f"{match} NOT {term}" if term is unwanted[0] else f"({match}) NOT {term}"
    return Search(match)


def _term(part: re.Match[str]) -> str | None:
    """Return a word or phrase as a string of FTS5; None if no token is in it."""
    text = part["phrase"] if part["phrase"] is not None else part["word"]
    beginning = bool(part["star"]) or (part["word"] is not None and text.endswith("*"))
    words = spaced(text).replace('"', " ").replace("*", " ").split()
    if not any(map(_is_token, "".join(words))):
        return None
    return f'"{" ".join(words)}"' + (" *" if beginning else "")


@lru_cache(maxsize=4096)
def _is_token(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in _TOKEN_KINDS or category in _TOKEN_CATEGORIES
