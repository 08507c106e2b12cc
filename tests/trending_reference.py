"""Trending names counted once more, in Python and by brute force, to compare the job with."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

KINDS = ("word", "hashtag", "mention")
DENSE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip
NEVER = -(10**18)


def _set(chosen: Callable[[int], bool]) -> str:
    """Return the code points as the inside of a set of a regular expression."""
    parts, start = [], None
    for point in range(sys.maxunicode + 2):
        inside = point <= sys.maxunicode and chosen(point)
        if inside and start is None:
            start = point
        if not inside and start is not None:
            parts.append(f"\\U{start:08x}-\\U{point - 1:08x}")
            start = None
    return "".join(parts)


def _dense(point: int) -> bool:
    return any(low <= point <= high for low, high in DENSE)


def _is(*categories: str) -> Callable[[int], bool]:
    return lambda point: unicodedata.category(chr(point)) in categories


_letter, _digit = _is("Lu", "Ll", "Lt", "Lm", "Lo"), _is("Nd")
L, D = _set(_letter), _set(_digit)
M = _set(lambda point: _is("Mn", "Mc", "Me")(point) and not 0xFE00 <= point <= 0xFE0F)
J = "\u200c\u200d"
OPEN_L, OPEN = _set(lambda p: _letter(p) and not _dense(p)), _set(lambda p: (_letter(p) or _digit(p)) and not _dense(p))
CLOSED = _set(lambda p: (_letter(p) or _digit(p)) and _dense(p))
FOUND = re.compile(
    rf"(?<![&_{L}{D}{M}{J}])#(?P<hashtag>(?:[{L}{D}_][{L}{D}{M}{J}_]*)?)"
    rf"|(?<![A-Za-z0-9_])@(?P<mention>(?:[{L}{D}_][{L}{D}{M}{J}_]*)?)"
    rf"|(?P<open>[{OPEN}](?:[{OPEN}{M}{J}]|(?<=[{OPEN_L}])'(?=[{OPEN_L}]))*)"
    rf"|(?P<dense>[{CLOSED}](?:[{CLOSED}{M}{J}])*)"
)
LETTER, MARKED = re.compile(f"[{L}]"), re.compile(f"[^{M}{J}][{M}{J}]*")
ADDRESS = re.compile(r"://\S*|(?<=[A-Za-z0-9])@[A-Za-z0-9]\S*")


def names(text: str) -> set[tuple[str, str]]:
    """Return kind and name of what stands in a text."""
    text = unicodedata.normalize("NFKC", text[:8192]).replace("\u2019", "'")
    found, at = set(), 0
    while match := FOUND.search(text, at):
        at = match.end()
        kind, run = next((kind, run) for kind, run in match.groupdict().items() if run is not None)
        if kind in {"open", "dense"}:
            address = ADDRESS.match(text, at) or (run.lower() == "www" and re.compile(r"\.\S*").match(text, at))
            if address:
                at = address.end()
                continue
        found |= {("word" if kind in {"open", "dense"} else kind, name) for name in _names(kind, run, text[: match.start()], text[at:])}
    return found


def _names(kind: str, run: str, before: str, after: str) -> Iterator[str]:
    if kind == "dense":
        characters = MARKED.findall(run)
        parts = [a + b for a, b in pairwise(characters)]
    elif kind == "open":
        least = 2 if "\uac00" <= run[0] <= "\ud7ff" else 3
        entity = before.endswith("&") and after.startswith(";")
        parts = [run] if len(run) >= least and LETTER.search(run) and not entity else []
    else:
        parts = [run] if LETTER.search(run) or (kind == "mention" and re.search(f"[{D}]", run)) else []
    for part in parts:
        name = part.rstrip(J)
        if len(name.encode("utf-16-le")) <= 128:
            yield name.upper().lower()


class Arrival(NamedTuple):
    """A prediction as it comes from Kafka."""

    partition: int
    time: int
    task: str
    text: str


Window = dict[str, object]


def recount(arrivals: Iterable[Arrival], *, slide: int, slides: int, top: int, lateness: int, partitions: int) -> list[Window]:
    """Return every window that closes, as its record; no partition is idle."""
    newest = dict.fromkeys(range(partitions), NEVER)
    held: list[tuple[int, str, set[tuple[str, str]]]] = []
    late: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    tasks: set[str] = set()
    closed: int | None = None
    windows: list[Window] = []
    for arrival in arrivals:
        tasks.add(arrival.task)
        start = arrival.time // slide * slide
        late[arrival.task] += closed is not None and start < closed
        if closed is not None and start < closed + slide - slides * slide:
            lost[arrival.task] += 1
        else:
            held.append((start, arrival.task, names(arrival.text)))
        newest[arrival.partition] = max(newest[arrival.partition], arrival.time)
        now = min(newest.values()) - lateness
        if now == NEVER - lateness:
            continue
        closed = min(row[0] for row in held) if closed is None else closed
        while closed + slide <= now:
            if not any(start >= closed - 2 * slides * slide and start <= closed for start, _, _ in held):
                closed = min([start for start, _, _ in held if start > closed] + [now // slide * slide - slide])
            closed += slide
            windows += [_window(held, task, kind, closed, slide, slides, top, late, lost) for task in sorted(tasks) for kind in KINDS]
    return windows


def _window(
    held: list[tuple[int, str, set[tuple[str, str]]]],
    task: str,
    kind: str,
    end: int,
    slide: int,
    slides: int,
    top: int,
    late: Counter[str],
    lost: Counter[str],
) -> Window:
    length = slide * slides
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    totals: Counter[int] = Counter()
    for start, of, found in held:
        if of == task and end - 2 * length <= start < end:
            ago = (end - 1 - start) // length
            totals[ago] += 1
            counts[ago].update(name for k, name in found if k == kind)
    now, before = counts[0], counts[1]
    shown = [name for name in now if not (kind == "word" and _usual(now[name], before[name], totals[0], totals[1]))]
    shown.sort(key=lambda name: (-now[name], name))
    items = [{"name": n, "count": now[n], "before": before[n], "change": now[n] - before[n]} for n in shown[:top]]
    return {
        "task": task, "kind": kind, "start": end - length, "end": end, "slide_ms": slide, "items": items, "total": totals[0],
        "total_before": totals[1], "missed": 0, "late": late[task], "lost": lost[task],
    }  # fmt: skip


def _usual(now: int, before: int, texts: int, texts_before: int) -> bool:
    if texts_before >= 100:
        expected = before / texts_before * texts
        return before >= 10 and before >= 0.01 * texts_before and now <= expected + 3 * math.sqrt(expected)
    return texts >= 100 and now >= 10 and now >= 0.1 * texts
