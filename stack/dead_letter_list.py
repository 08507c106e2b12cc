"""Dead letters as they lie in their topic: read, chosen, and shown."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.parsing import record_parser
from schemas.records import DeadLetter
from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import read_committed

DETAIL_SHOWN = 100

_parse = record_parser(DeadLetter)
_PLACE = re.compile(r"([A-Za-z0-9._-]+):([0-9]{1,10}):([0-9]{1,19})")


class Place(NamedTuple):
    """Where a refused record lies: the topic's name on the broker, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


def parse_place(text: str) -> Place:
    """Return the place in a text.

    Raises:
        ValueError: if it is none.

    >>> parse_place("shop-events:3:17")
    Place(topic='shop-events', partition=3, offset=17)
    >>> parse_place("events")
    Traceback (most recent call last):
    ...
    ValueError: 'events' is no place: give TOPIC:PARTITION:OFFSET, as `millrace dead-letters list` shows it
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no place: give TOPIC:PARTITION:OFFSET, as `millrace dead-letters list` shows it")
    return Place(found[1], int(found[2]), int(found[3]))


def place_of(letter: DeadLetter) -> Place:
    """Return the place of the record that was refused."""
    return Place(letter.topic, letter.partition, letter.offset)


class Choice(NamedTuple):
    """Which dead letters: those that fit all that is given. `since` in epoch ms."""

    topic: str | None = None
    reason: str | None = None
    since: int = 0
    places: Collection[Place] | None = None

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        return (
            self.topic in (None, letter.topic)
            and self.reason in (None, letter.reason)
            and letter.time >= self.since
            and (self.places is None or place_of(letter) in self.places)
        )


def read_letters(settings: Settings, choice: Choice) -> list[DeadLetter]:
    """Return the chosen dead letters, oldest first; one for each record that was refused.

    Raises:
        KafkaUnavailable: if the topic cannot be read.
    """
    found: dict[Place, DeadLetter] = {}
    for batch in read_committed(settings.kafka, settings.topic_prefix + Topic.DEAD_LETTERS):
        for record in batch:
            if record.value is not None and choice.fits(letter := _parse(record.value)):
                found[place_of(letter)] = letter
    return sorted(found.values(), key=lambda letter: letter.time)


def reason_counts(letters: Iterable[DeadLetter]) -> dict[str, int]:
    """Return how many letters there are of each reason, most first."""
    return dict(Counter(letter.reason.value for letter in letters).most_common())


def when(time_ms: int) -> str:
    """Return a time as people read it.

    >>> when(1_700_000_000_123)
    '2023-11-14 22:13:20.123Z'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{time_ms % 1000:03}Z"


def visible(data: bytes) -> str:
    r"""Return bytes as text in which nothing is hidden and nothing can steer a terminal: only line breaks and tabs stay.

    >>> print(visible(b'caf\xc3\xa9 \xff \x1b[31m \xe2\x80\xae\n\\'))
    café \xff \x1b[31m \u202e
    \
    """
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in data.decode(errors="backslashreplace"))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def as_line(letter: DeadLetter) -> str:
    """Return a letter as a line of the list."""
    detail = visible(letter.detail.encode()).replace("\n", " ")
    shown = detail if len(detail) <= DETAIL_SHOWN else detail[: DETAIL_SHOWN - 1] + "…"
    return f"{when(letter.time)}  {place_of(letter)!s:<28}  {letter.reason:<16} {letter.length:>9}  {shown}"


def as_page(letter: DeadLetter) -> str:
    """Return all of a letter, its bytes made visible."""
    head = base64.b64decode(letter.head)
    cut = f"the first {len(head)} of {letter.length} bytes" if len(head) < letter.length else f"all {letter.length} bytes"
    fields = {
        "place": str(place_of(letter)),
        "time": f"{when(letter.time)} ({letter.time})",
        "reason": letter.reason.value,
        "detail": visible(letter.detail.encode()),
        "length": f"{letter.length} bytes",
        "sha256": letter.sha256,
        "version": str(letter.v),
    }
    lines = [f"{name:<8} {value}" for name, value in fields.items()]
    return "\n".join([*lines, f"value    {cut}:", visible(head)])
