"""Optional cleaning of texts before they are taken apart. Off by default: none of it helps on every kind of text (docs/decisions.md)."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

_TAG = re.compile(r"<(?:!--.{0,10000}?--|[/!?]?[a-zA-Z][^<>]{0,1000})>", re.DOTALL)
_HUGE = re.compile(r"&#\d{8,};?")  # no character, and `int` refuses thousands of digits
_URL = re.compile(r"\b(?:https?://|www\.)([^\s/?#]+)\S*", re.IGNORECASE)
_JOINT = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\w)[-_](?=\w)")
_SHORTEST, _LONGEST = 2, 29


def _without_tags(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    return html.unescape(_HUGE.sub("\N{REPLACEMENT CHARACTER}", _TAG.sub(" ", text)))


def _hosts(text: str) -> str:
    return _URL.sub(r" \1 ", text)


def _of_fair_length(text: str) -> str:
    return " ".join(word for word in text.split() if _SHORTEST <= len(word) <= _LONGEST)


STEPS: dict[str, Callable[[str], str]] = {
    "nfkc": lambda text: text if text.isascii() else unicodedata.normalize("NFKC", text),
    "html": _without_tags,
    "urls": _hosts,
    "joined": lambda text: _JOINT.sub(" ", text),
    "lengths": _of_fair_length,
}
"""The steps by name, in the order in which they are done.

nfkc: Unicode's compatibility form, so that composed and decomposed, wide and narrow, styled and plain letters are the same. html: tags
become spaces, entities characters. urls: of an address only the host stays. joined: words joined by capitals, hyphens or underscores
come apart. lengths: words with less than 2 or more than 29 characters go.
"""


def cleaner(names: str | None) -> Callable[[str], str] | None:
    """Return the function that does the steps `names`, joined by "_"; None for None.

    Some steps take time that grows with the square of a hostile text: they are for texts of bounded length.

    Raises:
        ValueError: if a step is unknown.

    >>> clean = cleaner("html_urls_lengths")
    >>> clean("<p>a fine day &amp; more at https://example.org/x?y=1</p>")
    'fine day more at example.org'
    >>> cleaner("stems")
    Traceback (most recent call last):
    ...
    ValueError: clean='stems': there is no step 'stems'; there are nfkc, html, urls, joined, lengths
    """
    if names is None:
        return None
    wanted = str(names).split("_")
    for name in wanted:
        if name not in STEPS:
            raise ValueError(f"clean={names!r}: there is no step {name!r}; there are {', '.join(STEPS)}")
    steps = [step for name, step in STEPS.items() if name in wanted]

    def clean(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return clean
