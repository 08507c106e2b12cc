"""Reads the read model from Redis: what the API shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import redis

from schemas.records import LabelState, Prediction, Quality
from schemas.trending import NameKind, Trending
from store.connect import redis_unavailable
from store.cursor import Cursor
from store.keys import NO_LABEL, CountName, Granularity, Keys
from store.receipt import Receipt

SCAN_LIMIT = 10_000
"""Predictions that one call looks at when it filters by confidence; the page says where to go on."""

_prediction = msgspec.json.Decoder(Prediction).decode
_quality = msgspec.json.Decoder(Quality).decode
_trending = msgspec.json.Decoder(Trending).decode
_state = msgspec.json.Decoder(LabelState).decode
_unpack = msgspec.msgpack.Decoder(list[tuple[int, int, int, int, str]]).decode


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some predictions, latest first, and where the next page starts (None after the last one)."""

    predictions: list[Prediction]
    next: Cursor | None


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one window that starts at `start` (epoch ms); the label is empty where the model knew no class."""

    start: int
    counts: dict[str, int]


class RedisReader:
    """Answers questions; each call is one or a few round trips. Every method raises `RedisUnavailable`."""

    def __init__(self, client: redis.Redis, *, topic_prefix: str = "") -> None:
        # Any: redis-py types every answer as "awaitable or not".
        self._redis: Any = client
        self._keys = Keys(topic_prefix)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise redis_unavailable(self._redis, error) from error

    def predictions(
        self, task: str, *, label: str | None = None, min_confidence: float = 0.0, limit: int = 50, after: Cursor | None = None
    ) -> Page:
        """Return the latest predictions, or those that follow `after`.

        Args:
            task: whose predictions.
            label: only predictions of this label; `NO_LABEL` means those where the model knew no class.
            min_confidence: only those whose label had at least this probability.
            limit: at most so many. A page may be shorter and still name a next one, see `SCAN_LIMIT`.
            after: where the page before ended. It holds while predictions arrive: none is shown twice or left out, save those
                that Redis has dropped meanwhile.
        """
        index = self._keys.predictions_by_time(task) if label is None else self._keys.predictions_by_label(task, label)
        batch = limit if min_confidence <= 0 else max(limit, 1000)
        found: list[Prediction] = []
        with self._asking():
            for scanned, (place, body) in enumerate(self._scan(index, task, after, batch), 1):
                if body is not None and confidence(prediction := _parse(body)) >= min_confidence:
                    found.append(prediction)
                if len(found) == limit or scanned == SCAN_LIMIT:
                    return Page(predictions=found, next=place)
        return Page(predictions=found, next=None)

    def _scan(self, index: str, task: str, after: Cursor | None, batch: int) -> Iterator[tuple[Cursor, bytes | None]]:
        """Yield the places of an index that follow `after`, each with its body."""
        while places := self._places(index, after, batch):
            yield from zip(places, self._redis.hmget(self._keys.predictions(task), [place.event_id for place in places]), strict=True)
            if len(places) < batch:
                return
            after = places[-1]

    def _places(self, index: str, after: Cursor | None, limit: int) -> list[Cursor]:
        """Return the next places of an index: by time, and within a millisecond by id, both descending."""
        if after is None:
            rows = self._redis.zrevrange(index, 0, limit - 1, withscores=True)
            return [Cursor(int(score), member) for member, score in rows]
        # Predictions of the same millisecond may have come in since: skip by id, not by rank.
        ties = self._redis.zcount(index, after.time, after.time)
        rows = self._redis.zrevrangebyscore(index, after.time, "-inf", start=0, num=limit + ties, withscores=True)
        places = [Cursor(int(score), member) for member, score in rows]
        return [place for place in places if place < after][:limit]

    def prediction(self, task: str, event_id: str) -> Prediction | None:
        """Return the prediction of an event, or None if Redis does not have it (any more)."""
        with self._asking():
            body = self._redis.hget(self._keys.predictions(task), event_id)
        return None if body is None else _parse(body)

    def receipt(self, task: str, event_id: str) -> Receipt | None:
        """Return what became of an event's labels, or None if Redis knows of none (any more)."""
        with self._asking():
            packed = self._redis.hget(self._keys.labels(task), event_id)
        if packed is None:
            return None
        return parse_receipt(packed)

    def receipts(self, task: str, event_ids: Sequence[str]) -> list[Receipt | None]:
        """Return what became of the labels of some events, in their order."""
        if not event_ids:
            return []
        with self._asking():
            rows = self._redis.hmget(self._keys.labels(task), event_ids)
        return [None if packed is None else parse_receipt(packed) for packed in rows]

    def counts(self, task: str, name: CountName, granularity: Granularity, *, limit: int = 60) -> list[Bucket]:
        """Return the newest buckets, newest first."""
        with self._asking():
            starts = [int(start) for start in self._redis.zrevrange(self._keys.counts(task, name, granularity), 0, limit - 1)]
            pipeline = self._redis.pipeline(transaction=False)
            for start in starts:
                pipeline.hgetall(self._keys.bucket(task, name, granularity, start))
            rows = pipeline.execute()
        buckets = (Bucket(start=start, counts=_counts(row)) for start, row in zip(starts, rows, strict=True))
        return [bucket for bucket in buckets if bucket.counts]

    def label_states(self, task: str) -> dict[str, int]:
        """Return how many labels of the task are in each state."""
        buckets = self.counts(task, "label_states", "total", limit=1)
        return buckets[0].counts if buckets else {}

    def quality(self, task: str) -> Quality | None:
        """Return the task's quality, or None before its first label."""
        with self._asking():
            value = self._redis.get(self._keys.quality(task))
        return None if value is None else _quality(value)

    def trending(self, task: str, kind: NameKind) -> Trending | None:
        """Return the newest closed window of the task's names of a kind, or None before the first one."""
        with self._asking():
            value = self._redis.get(self._keys.trending(task, kind))
        return None if value is None else _trending(value)

    def generation(self) -> str | None:
        """Return the generation marker, or None if nothing was ever written here."""
        with self._asking():
            value = self._redis.get(self._keys.generation)
        return None if value is None else value.decode()

    def job_seen(self, name: str) -> int | None:
        """Return when (epoch ms) the job was last seen, or None if unknown."""
        with self._asking():
            value = self._redis.get(self._keys.job(name))
        return None if value is None else int(value)


def confidence(prediction: Prediction) -> float:
    """Return the probability of the served label; 0 if the model knew no class."""
    return 0.0 if prediction.label is None else prediction.proba.get(prediction.label, 0.0)


def parse_body(stored: bytes) -> tuple[bytes, Prediction]:
    """Return what Redis keeps of a prediction: its JSON, and that parsed."""
    length, _, rest = stored.partition(b":")
    body = rest[int(length) :]
    return body, _prediction(body)


def parse_receipt(packed: bytes) -> Receipt:
    """Return the receipt that Redis keeps as a packed history."""
    return Receipt.of([_state(row[4]) for row in _unpack(packed)])


def _parse(stored: bytes) -> Prediction:
    return parse_body(stored)[1]


def _counts(row: dict[bytes, bytes]) -> dict[str, int]:
    counts = {label.decode(): int(count) for label, count in row.items()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0] == NO_LABEL, item[0])))
