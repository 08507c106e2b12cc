"""Reads from Redis what has arrived: the streams of predictions and of changed receipts, and what they name. One round trip a question.

The indexes by time cannot tell what is new: a prediction may be written after others with a later time (another partition commits, a job
comes back). The streams are in the order of writing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from schemas.records import Prediction
from store.connect import redis_unavailable
from store.keys import Keys
from store.reader import parse_body, parse_receipt
from store.recent.rows import Marks

_NUMBER_BITS = 20
_NUMBER_MOST = (1 << _NUMBER_BITS) - 1

Arrival = tuple[int, str]
"""A position in a stream, and the event that arrived there."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream at a time: its first and last position (0 if it is empty), and the first arrivals after the position that was asked for."""

    first: int
    last: int
    arrivals: list[Arrival]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one task: both streams, how many predictions, and time and event id of the oldest (None without any)."""

    predictions: Stream
    labels: Stream
    count: int
    oldest: tuple[int, str] | None


class Arrivals:
    """Asks Redis. Every method raises `RedisUnavailable`. Use it from one thread."""

    def __init__(self, client: redis.Redis, topic_prefix: str) -> None:
        # Any: redis-py types every answer as "awaitable or not".
        self._redis: Any = client
        self._keys = Keys(topic_prefix)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise redis_unavailable(self._redis, error) from error

    def look(self, heads: dict[str, tuple[int, int]], most: int) -> tuple[str | None, dict[str, Look]]:
        """Return the generation of this Redis, and of each task what has arrived after two positions: of predictions, of receipts."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(self._keys.generation)
        for task, (head, label_head) in heads.items():
            for key, position in ((self._keys.predictions_arrived(task), head), (self._keys.labels_arrived(task), label_head)):
                pipeline.xrange(key, count=1)
                pipeline.xrevrange(key, count=1)
                pipeline.xrange(key, min=_after(position), count=most)
            pipeline.zcard(self._keys.predictions_by_time(task))
            pipeline.zrange(self._keys.predictions_by_time(task), 0, 0, withscores=True)
        with self._asking():
            generation, *rows = pipeline.execute()
        looks = {task: _look(rows[index * 8 : index * 8 + 8]) for index, task in enumerate(heads)}
        return None if generation is None else generation.decode(), looks

    def before(self, task: str, kind: str, position: int, most: int) -> list[Arrival]:
        """Return the last arrivals before a position, newest first; `kind` is `predictions` or `labels`."""
        key = self._keys.predictions_arrived(task) if kind == "predictions" else self._keys.labels_arrived(task)
        with self._asking():
            return _arrivals(self._redis.xrevrange(key, max=_before(position), count=most))

    def by_rank(self, task: str, start: int, most: int) -> list[str]:
        """Return event ids by time, newest first, from a rank on."""
        with self._asking():
            return [member.decode() for member in self._redis.zrevrange(self._keys.predictions_by_time(task), start, start + most - 1)]

    def bodies(self, task: str, event_ids: Sequence[str]) -> dict[str, tuple[bytes, Prediction, Marks]]:
        """Return what Redis has of these events: JSON, prediction, and what is known of the label."""
        if not event_ids:
            return {}
        with self._asking():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hmget(self._keys.predictions(task), event_ids)
            pipeline.hmget(self._keys.labels(task), event_ids)
            bodies, receipts = pipeline.execute()
        found: dict[str, tuple[bytes, Prediction, Marks]] = {}
        for event_id, stored, packed in zip(event_ids, bodies, receipts, strict=True):
            if stored is not None:
                body, prediction = parse_body(stored)
                found[event_id] = body, prediction, Marks.of(None if packed is None else parse_receipt(packed))
        return found

    def marks(self, task: str, event_ids: Sequence[str]) -> dict[str, Marks]:
        """Return what is known of the labels of these events; those of which nothing is known are left out."""
        if not event_ids:
            return {}
        with self._asking():
            receipts = self._redis.hmget(self._keys.labels(task), event_ids)
        return {event: Marks.of(parse_receipt(packed)) for event, packed in zip(event_ids, receipts, strict=True) if packed is not None}


def milliseconds(position: int) -> int:
    """Return the time of a position, epoch ms by Redis's clock."""
    return position >> _NUMBER_BITS


def _look(rows: Sequence[Any]) -> Look:
    oldest = rows[7]
    return Look(
        predictions=_stream(rows[0], rows[1], rows[2]),
        labels=_stream(rows[3], rows[4], rows[5]),
        count=int(rows[6]),
        oldest=(int(oldest[0][1]), oldest[0][0].decode()) if oldest else None,
    )


def _stream(first: Any, last: Any, rows: Any) -> Stream:
    return Stream(first=_position(first[0][0]) if first else 0, last=_position(last[0][0]) if last else 0, arrivals=_arrivals(rows))


def _arrivals(rows: Any) -> list[Arrival]:
    # An entry that was deleted while it is read has no fields.
    return [(_position(place), fields[b"e"].decode()) for place, fields in rows if fields]


def _position(place: bytes) -> int:
    """Return a stream's id as one number, in the same order.

    >>> _position(b"5-7") == (5 << 20) + 7
    True
    """
    ms, _, number = place.partition(b"-")
    return (int(ms) << _NUMBER_BITS) + min(int(number), _NUMBER_MOST)


def _after(position: int) -> str:
    return f"({position >> _NUMBER_BITS}-{position & _NUMBER_MOST}" if position else "-"


def _before(position: int) -> str:
    return f"({position >> _NUMBER_BITS}-{position & _NUMBER_MOST}"
