"""A generated, labelled stream: tickets to a support desk in six languages, with hashtags, and a drift in the middle.

The drift has two parts, as real ones do: a class appears that was not there before, and the products come to stand for
other classes. A share of the labels is wrong, so that no model can be perfect.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgspec

from stack.generator_words import CLASS_WORDS, FILLER, LANGUAGES, PRODUCTS
from store.labelled_files import Row

NEW_CLASS = "returns"
CLASSES = tuple(CLASS_WORDS)
LABEL_NOISE = 0.03
CLASS_WORD_SHARE = 0.93
HASHTAG_SHARE = 0.25
_SPACELESS = frozenset({"th", "ja"})


class _Speech(msgspec.Struct, frozen=True):
    """What one class says in one language."""

    words: tuple[str, ...]
    filler: tuple[str, ...]
    space: str
    meta: dict[str, str | int | float | bool | None]


_SPEECH = {
    (name, language): _Speech(
        tuple(words.split()), tuple(FILLER[language].split()), "" if language in _SPACELESS else " ", {"language": language}
    )
    for name, by_language in CLASS_WORDS.items()
    for language, words in by_language.items()
}


def generate(events: int, *, seed: int = 0, drift_at: float = 0.5) -> Iterator[Row]:
    """Yield `events` labelled rows; the same seed gives the same rows.

    Args:
        events: how many rows.
        seed: of the random choices.
        drift_at: the share of the rows before the drift; 1 means none.

    >>> [row.label for row in generate(3, seed=1)] == [row.label for row in generate(3, seed=1)]
    True
    """
    draw = random.Random(seed).random
    old_classes = tuple(c for c in CLASSES if c != NEW_CLASS)
    before = dict(zip(old_classes, PRODUCTS, strict=False))
    after = dict(zip(CLASSES, PRODUCTS[3:] + PRODUCTS[:3], strict=True))
    drift = int(events * drift_at)
    for _ in range(min(drift, events)):
        yield _row(draw, old_classes, before)
    for _ in range(events - drift):
        yield _row(draw, CLASSES, after)


def _row(draw: Callable[[], float], classes: tuple[str, ...], product_of: dict[str, str]) -> Row:
    """Return one ticket: filler and one to three words of its class (rarely of another), at times a product or a hashtag."""
    name = _pick(draw, classes)
    language = _pick(draw, LANGUAGES)
    speech = _SPEECH[name, language]
    words = [_pick(draw, speech.filler) for _ in range(2 + int(draw() * 3))]
    for _ in range(2 + int(draw() * 2)):
        source = speech if draw() < CLASS_WORD_SHARE else _SPEECH[_pick(draw, classes), language]
        words.insert(int(draw() * len(words)), _pick(draw, source.words))
    text = speech.space.join(words)
    if draw() < 0.5:
        text = f"{product_of[name]} {text}"
    if draw() < HASHTAG_SHARE:
        text = f"{text} #{name if draw() < 0.5 else product_of[name].lower()}"
    label = name if draw() >= LABEL_NOISE else _pick(draw, classes)
    return Row(text, label, None, speech.meta)


def _pick(draw: Callable[[], float], choices: tuple[str, ...]) -> str:
    return choices[int(draw() * len(choices))]
