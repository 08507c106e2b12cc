"""Who was asked about which event, in Redis: never two at once, however many processes serve the API.

All of it is ephemeral: a Redis that has lost it asks again. Each change is one script, so that nothing comes between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
import redis

from online_model.review.opinions import Review
from schemas.records import Drawn
from store.connect import redis_unavailable
from store.keys import GIVEN_LIFETIME_S, SKIPPED_LIFETIME_S, SKIPPED_MOST, Keys


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An event is kept for a reviewer. `until` is when that ends, epoch ms."""

    event_id: str
    claim: str
    reviewer: str
    drawn: Drawn
    until: int


class Given(NamedTuple):
    """What was said of an event and may not be in its receipt yet; `said` tells whether more was said since."""

    reviews: tuple[Review, ...]
    said: int


_claim = msgspec.json.Decoder(Claim).decode
_review = msgspec.json.Decoder(Review).decode
_encode = msgspec.json.Encoder().encode

_DRAW: Final = """
-- KEYS: skipped, open, then of each event claim and given. ARGV: lifetime ms, then of each event its id, the claim as JSON, the count given
for i = 1, (#KEYS - 2) / 2 do
  local claim, given, event = KEYS[2 * i + 1], KEYS[2 * i + 2], ARGV[3 * i - 1]
  if redis.call('HLEN', given) == tonumber(ARGV[3 * i + 1]) and not redis.call('ZSCORE', KEYS[1], event)
      and redis.call('SET', claim, ARGV[3 * i], 'NX', 'PX', ARGV[1]) then
    redis.call('SET', KEYS[2], event, 'PX', ARGV[1])
    return i
  end
end
return 0
"""

_END: Final = """
local function finish(claim, open, event, id)  -- lets go of a claim that is this one
  local held = redis.call('GET', claim)
  if held and cjson.decode(held).claim == id then redis.call('DEL', claim) end
  if redis.call('GET', open) == event then redis.call('DEL', open) end
end
"""

_GIVE: Final = (
    _END
    + """
-- KEYS: given, claim, open. ARGV: event, claim, field, review as JSON, lifetime s
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
finish(KEYS[2], KEYS[3], ARGV[1], ARGV[2])
"""
)

_SKIP: Final = (
    _END
    + """
-- KEYS: skipped, claim, open. ARGV: event, claim, now, lifetime s, most
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[5]))
redis.call('EXPIRE', KEYS[1], ARGV[4])
finish(KEYS[2], KEYS[3], ARGV[1], ARGV[2])
"""
)


class Claims:
    """Claims, skips and labels on their way. Every method raises `RedisUnavailable`. Safe to use from several threads and processes."""

    def __init__(self, client: redis.Redis, *, lifetime_ms: int, topic_prefix: str = "") -> None:
        # Any: redis-py types every answer as "awaitable or not".
        self._redis: Any = client
        self._keys = Keys(topic_prefix)
        self._lifetime_ms = lifetime_ms

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise redis_unavailable(self._redis, error) from error

    def given(self, task: str, event_ids: Sequence[str]) -> list[Given]:
        """Return what was said of these events lately, in their order."""
        pipeline = self._redis.pipeline(transaction=False)
        for event_id in event_ids:
            pipeline.hvals(self._keys.given(task, event_id))
        with self._asking():
            rows = pipeline.execute() if event_ids else []
        return [Given(tuple(sorted(map(_review, row), key=lambda review: review.time)), len(row)) for row in rows]

    def draw(self, task: str, reviewer: str, drawn: Drawn, events: Sequence[tuple[str, int]], *, claim: str, now: int) -> Claim | None:
        """Claim the first of these events that nobody has claimed and this reviewer has not skipped; None if there is none.

        Args:
            events: their ids, each with the count of what was given when it was chosen: if more was said since, it is passed over.
            claim: a new id.
            now: epoch ms.
        """
        until = now + self._lifetime_ms
        claims = [Claim(event_id=event_id, claim=claim, reviewer=reviewer, drawn=drawn, until=until) for event_id, _ in events]
        keys = [self._keys.skipped(task, reviewer), self._keys.open_review(task, reviewer)]
        arguments: list[Any] = [self._lifetime_ms]
        for made, (event_id, count) in zip(claims, events, strict=True):
            keys += [self._keys.claim(task, event_id), self._keys.given(task, event_id)]
            arguments += [event_id, _encode(made), count]
        with self._asking():
            number = self._redis.eval(_DRAW, len(keys), *keys, *arguments)
        return claims[number - 1] if number else None

    def open(self, task: str, reviewer: str) -> Claim | None:
        """Return the claim that this reviewer was given last and holds still."""
        with self._asking():
            event_id = self._redis.get(self._keys.open_review(task, reviewer))
        held = None if event_id is None else self.holder(task, event_id.decode())
        return held if held is not None and held.reviewer == reviewer else None

    def holder(self, task: str, event_id: str) -> Claim | None:
        """Return the claim on an event, if somebody holds it."""
        with self._asking():
            value = self._redis.get(self._keys.claim(task, event_id))
        return None if value is None else _claim(value)

    def give(self, task: str, event_id: str, claim: str, review: Review) -> None:
        """Note what a reviewer has said (it is in Kafka by now), and end the claim."""
        keys = [self._keys.given(task, event_id), self._keys.claim(task, event_id), self._keys.open_review(task, review.reviewer)]
        field = f"{review.drawn}:{review.reviewer}"
        with self._asking():
            self._redis.eval(_GIVE, 3, *keys, event_id, claim, field, _encode(review), GIVEN_LIFETIME_S)

    def skip(self, task: str, event_id: str, claim: str, reviewer: str, *, now: int) -> None:
        """Note that a reviewer does not want to label an event now, and end the claim."""
        keys = [self._keys.skipped(task, reviewer), self._keys.claim(task, event_id), self._keys.open_review(task, reviewer)]
        with self._asking():
            self._redis.eval(_SKIP, 3, *keys, event_id, claim, now, SKIPPED_LIFETIME_S, SKIPPED_MOST)
