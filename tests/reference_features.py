"""What the kernels compute from a text, written down a second time: in plain Python, with regular expressions over character classes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from online_model import features
from online_model.tokens import MAX_POINTS

# Space, mark, letter, dense letter, digit (9), extending mark, joiner, emoji, skin tone, flag half (r), left out (-).
TOKEN = re.compile(r"(?P<word>[ld9][ld9xj]*)|(?P<emoji>(?:rr|[etr])(?:j[etr]|[xjt])*)|(?P<mark>[m#])")
DENSE = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1980-\u19df\u3040-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\uff66-\uffdc\U0001aff0-\U0001b16f\U00020000-\U0003ffff]"
)
PICTURE = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff]")
EDGE = 0x110000


class Feature(NamedTuple):
    """A feature: where its hash leads, its value, and where it comes from."""

    row: int
    value: float
    kind: int
    start: int
    end: int


def class_of(character: str) -> str:
    """Return the letter for a character's class."""
    point = ord(character)
    if 0xE0020 <= point <= 0xE007F:
        return "x"  # tags: they spell the flag of a region behind a black flag
    if 0xE0000 <= point < 0xE1000:
        return "-"
    if point >= 0x20000:
        return "d" if point < 0x40000 else "l"
    return _class_by_category(character, point, unicodedata.category(character))


def _class_by_category(character: str, point: int, category: str) -> str:
    if point == 0x200B or category in ("Zs", "Zl", "Zp", "Cc"):
        return "s"
    if category == "Cf":
        return {0x200C: "x", 0x200D: "j"}.get(point, "-")
    if category[0] in "PS":
        if category == "Sm" or not PICTURE.match(character):
            return "#" if character in "#@" else "m"
        return "r" if 0x1F1E6 <= point <= 0x1F1FF else "t" if 0x1F3FB <= point <= 0x1F3FF else "e"
    if category == "Nd":
        return "9"
    if DENSE.match(character):
        return "d"
    return "x" if category[0] == "M" else "l"


def folded(text: str) -> tuple[list[int], str]:
    """Return the code points that are read, case-folded, and a letter for the class of each."""
    points: list[int] = []
    classes: list[str] = []
    for character in text[:MAX_POINTS]:
        if len(points) >= MAX_POINTS:
            break
        for part in character.casefold():
            if (kind := class_of(part)) != "-":
                points.append(ord(part))
                classes.append(kind)
    return points, "".join(classes)


def mixed(state: int, value: int) -> int:
    state = (state ^ value) * 0x9E3779B97F4A7C15 % 2**64
    return state ^ state >> 32


def hashed(points: list[int], seed: int = 0x243F6A8885A308D3) -> int:
    for point in points:
        seed = mixed(seed, point)
    return seed


def paired(first: int, second: int) -> int:
    state = (first ^ 0x13198A2E03707344) * 0x9E3779B97F4A7C15 % 2**64
    state = ((state ^ state >> 32) + second) * 0x9E3779B97F4A7C15 % 2**64
    return state ^ state >> 32


def row(state: int, bits: int) -> int:
    return (state * 0xD6E8FEB86659FD93 % 2**64) >> (64 - bits)


def ngrams(points: list[int], classes: str) -> Iterator[tuple[int, int, int]]:
    """Yield hash, start and end of the n-grams of a word, by places in the word; its edges are places -1 and len."""
    padded = [EDGE, *points, EDGE]
    kinds = f"-{classes}-"
    for start in range(len(points) + 1):
        for end in range(start + (2 if kinds[start] == "d" else 3), min(start + 5, len(padded)) + 1):
            yield hashed(padded[start:end], 0xA4093822299F31D0), start - 1, end - 1


def extract(text: str, bits: int) -> list[Feature]:
    """Return the features of a text, in the order of the kernels."""
    points, classes = folded(text)
    counts: Counter[int] = Counter()
    seen: dict[int, tuple[str, int, int]] = {}
    pairs: list[tuple[int, int, int]] = []
    last: tuple[int, int] | None = None
    total = 0
    for match in TOKEN.finditer(classes):
        (start, end), kind = match.span(), str(match.lastgroup)
        token = hashed(points[start:end])
        found = [(token, (kind, start, end))]
        if kind == "word":
            total += "9" in match.group()
            if classes[start - 1 : start] == "#":
                found.append((paired(points[start - 1], token), ("tagged", start - 1, end)))
            if last:
                pairs.append((paired(last[0], token), last[1], end))
            last = token, start
        for key, what in found:
            counts[key] += 1
            seen.setdefault(key, what)
            total += 1
    return _listed(points, classes, seen, counts, pairs, total, bits)


def _listed(
    points: list[int],
    classes: str,
    seen: dict[int, tuple[str, int, int]],
    counts: Counter[int],
    pairs: list[tuple[int, int, int]],
    total: int,
    bits: int,
) -> list[Feature]:
    bias, of_tokens, of_pairs, of_ngrams = features.WEIGHTS
    grams = {key: list(ngrams(points[s:e], classes[s:e])) if kind == "word" else [] for key, (kind, s, e) in seen.items()}
    per_token = of_tokens / math.sqrt(max(total, 1))
    per_ngram = of_ngrams / math.sqrt(max(sum(counts[key] * len(found) for key, found in grams.items()), 1))
    listed = [Feature(row(0x452821E638D01377, bits), bias, features.BIAS, 0, 0)]
    for key, (kind, start, end) in seen.items():
        often = math.sqrt(counts[key])
        listed.append(Feature(row(key, bits), often * per_token, features.TOKEN, start, end))
        if kind == "word" and "9" in classes[start:end]:
            shape = [0x30 if c == "9" else p for p, c in zip(points[start:end], classes[start:end], strict=True)]
            listed.append(Feature(row(hashed(shape, 0x452821E638D01377), bits), often * per_token, features.SHAPE, start, end))
        listed += [Feature(row(h, bits), often * per_ngram, features.CHARACTERS, start + s, start + e) for h, s, e in grams[key]]
    per_pair = of_pairs / math.sqrt(max(len(pairs), 1))
    return [*listed, *(Feature(row(key, bits), per_pair, features.PAIR, s, e) for key, s, e in pairs)]


def longest_texts() -> list[str]:
    """Return texts as long as are read, with as many tokens, pairs and n-grams as there can be."""
    half = MAX_POINTS // 2
    return [
        "".join(f"#{chr(0x4E00 + i)}" for i in range(half)),  # three distinct tokens in two characters
        "".join(f"{chr(0x4E00 + i)} " for i in range(half)),
        "".join(f"1{chr(0x4E00 + i)} " for i in range(half)),
        "".join(map(chr, range(0x4E00, 0x4E00 + MAX_POINTS))),
        "ΐ" * MAX_POINTS,
        "".join(f"#{chr(0x4E00 + i)}" for i in range(half))[:-1] + "ΐ",  # folding ends two code points beyond the last that is read
        "ﬃ1 " * MAX_POINTS,
        "".join(map(chr, range(0x2600, 0x27BF))) * 20,
    ]
