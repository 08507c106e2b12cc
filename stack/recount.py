"""Compares what Redis shows with a recount of the committed topics: pure functions on what was read from both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from schemas.records import Prediction
from store.keys import COUNT_LIFETIME_MS, Granularity

MARGIN_MS = 120_000
"""Buckets that expire within so long are not compared: they may go between the two readings."""

_WIDTH_MS: dict[Granularity, int] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}

Bucket = tuple[Granularity, int, str]
"""Granularity, start (epoch ms, 0 for the total), label."""


def roll_up(per_minute: Mapping[tuple[str, int], int]) -> Counter[Bucket]:
    """Return the counts of each minute, hour and day (UTC) and the totals, from counts by label and minute.

    >>> sorted(roll_up({("a", 3_600_000): 2, ("a", 3_660_000): 1}).items())[1]
    (('hour', 3600000, 'a'), 3)
    """
    counts: Counter[Bucket] = Counter()
    for (label, minute), count in per_minute.items():
        counts["total", 0, label] += count
        for granularity, width in _WIDTH_MS.items():
            counts[granularity, minute - minute % width, label] += count
    return counts


def comparable(bucket: Bucket, *, now: int, retained_from: int) -> bool:
    """Return whether the bucket must agree: Redis still keeps it, and Kafka still has all that is counted in it.

    >>> comparable(("minute", 0, "a"), now=3 * 24 * 3_600_000, retained_from=0)
    False
    """
    granularity, start, _ = bucket
    lifetime = COUNT_LIFETIME_MS[granularity]
    if lifetime is not None and start + lifetime < now + MARGIN_MS:
        return False
    return start >= retained_from


def count_differences(kafka: Mapping[Bucket, int], redis: Mapping[Bucket, int], *, now: int, retained_from: int = 0) -> list[str]:
    """Return in words where the counts of predictions differ.

    >>> count_differences({("total", 0, "a"): 2}, {}, now=0)
    ["total predictions of 'a' from 0: 2 in Kafka, 0 in Redis"]
    """
    return [
        f"{b[0]} predictions of {b[2]!r} from {b[1]}: {kafka.get(b, 0)} in Kafka, {redis.get(b, 0)} in Redis"
        for b in sorted(kafka.keys() | redis.keys())
        if kafka.get(b, 0) != redis.get(b, 0) and comparable(b, now=now, retained_from=retained_from)
    ]


def state_differences(kafka: Mapping[str, int], redis: Mapping[str, int]) -> list[str]:
    """Return in words where the totals of label states differ.

    >>> state_differences({"trained": 2}, {"trained": 1, "waiting": 0})
    ["labels in state 'trained': 2 in Kafka, 1 in Redis"]
    """
    return [
        f"labels in state {state!r}: {kafka.get(state, 0)} in Kafka, {redis.get(state, 0)} in Redis"
        for state in sorted(kafka.keys() | redis.keys())
        if kafka.get(state, 0) != redis.get(state, 0)
    ]


def newest_differences(
    kafka: Sequence[Prediction], redis: Sequence[Prediction], *, text_shown: int, open_ids: AbstractSet[str] = frozenset()
) -> list[str]:
    """Return in words where the newest predictions differ; both come latest first, and Redis cuts long texts.

    `kafka` holds the first prediction of each event, for that is what Redis shows; events in `open_ids` are not compared.
    The oldest millisecond of a full list may be cut anywhere and is left out.
    """
    oldest = max((rows[-1].predicted_at for rows in (kafka, redis) if rows), default=0)
    complete = len(kafka) == len(redis) and not open_ids
    expected = {p.event_id: p for p in kafka if complete or p.predicted_at > oldest}
    found = {p.event_id: p for p in redis if complete or p.predicted_at > oldest}
    problems = [f"prediction of {i}: not among the newest in Redis" for i in expected.keys() - found.keys() - open_ids]
    problems += [f"prediction of {i}: in Redis, not among the newest in Kafka" for i in found.keys() - expected.keys() - open_ids]
    for event_id in expected.keys() & found.keys() - open_ids:
        problems += _body_differences(expected[event_id], found[event_id], text_shown)
    return sorted(problems)


def _body_differences(kafka: Prediction, redis: Prediction, text_shown: int) -> Iterable[str]:
    same_text = redis.text == kafka.text or (len(kafka.text) > text_shown and kafka.text.startswith(redis.text[:text_shown]))
    for field in msgspec.structs.fields(Prediction):
        if field.name != "text" and getattr(kafka, field.name) != getattr(redis, field.name):
            values = f"{getattr(kafka, field.name)!r} in Kafka, {getattr(redis, field.name)!r} in Redis"
            yield f"prediction of {kafka.event_id}: {field.name} is {values}"
    if not same_text:
        yield f"prediction of {kafka.event_id}: its text differs"
