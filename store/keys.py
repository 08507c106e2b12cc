"""Every Redis key and its lifetime. The one place that knows them.

With `ns` = the namespace (the topic prefix, or `millrace`) and `task` = a task's name:

| key | type | holds | lifetime |
|---|---|---|---|
| `ns:generation` | string | a random id: whether this Redis still holds what was written to it | until Redis is emptied |
| `ns:filling` | string | a random id, while it is filled from the topics | until it is filled, or emptied again |
| `ns:idempotency:ROUTE:HASH` | string | SHA-256 of a body, `:`, `begun` or `sent`; HASH is the SHA-256 of an idempotency key | one day |
| `ns:job:NAME` | string | epoch ms at which the job was last seen | one day |
| `ns:task:predictions` | hash | event id → label's length, `:`, label, prediction as JSON | the newest `recent` |
| `ns:task:predictions:time` | sorted set | event id, by time of prediction | as its body |
| `ns:task:predictions:label:LABEL` | sorted set | the same for one label; LABEL is empty if the model knew no class | as its body |
| `ns:task:predictions:arrived` | stream | event ids in the order of writing, for followers | about the newest `recent` |
| `ns:task:labels` | hash | event id → msgpack list of [partition, offset, final, time, state as JSON] | the newest `recent` |
| `ns:task:labels:time` | sorted set | event id, by time of its newest state | as its body |
| `ns:task:labels:arrived` | stream | event ids in the order in which their receipts changed | about the newest `recent` |
| `ns:task:review:claim:EVENT` | string | who was asked for a label of it, as JSON | `review_claim_s` |
| `ns:task:review:open:REVIEWER` | string | the event that this reviewer was asked about last | `review_claim_s` |
| `ns:task:review:given:EVENT` | hash | why and reviewer → what was said, until the receipt shows it | `GIVEN_LIFETIME_S` |
| `ns:task:review:skipped:REVIEWER` | sorted set | events that this reviewer has skipped, by time | a day; the newest `SKIPPED_MOST` |
| `ns:task:quality` | string | quality as JSON | for ever (one of a task) |
| `ns:task:trending:KIND` | string | the newest closed window of hashtags, mentions or words as JSON | see `TRENDING_LIFETIME_MS` |
| `ns:task:counts:NAME:GRANULARITY` | sorted set | starts of the buckets | as the buckets |
| `ns:task:counts:NAME:GRANULARITY:START` | hash | label → count | see `COUNT_LIFETIME_MS` |
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from schemas.trending import NameKind

Granularity = Literal["minute", "hour", "day", "total"]
CountName = Literal["predictions", "label_states", "scores"]

NO_LABEL: Final = ""
"""Stands for "the model knew no class" in keys and counts; a label is never empty."""

_DAY_MS = 24 * 3600 * 1000
WIDTH_MS: dict[Granularity, int | None] = {"minute": 60_000, "hour": 3_600_000, "day": _DAY_MS, "total": None}
"""How long a window of counts is; the total has no beginning."""
COUNT_LIFETIME_MS: dict[Granularity, int | None] = {"minute": 2 * _DAY_MS, "hour": 60 * _DAY_MS, "day": 3 * 365 * _DAY_MS, "total": None}
"""How long a bucket stays after its start; absolute, so writing an old bucket again does not prolong it."""

TRENDING_LIFETIME_MS = 7 * _DAY_MS
"""How long a window of names stays after its end, if no later one comes."""

JOB_LIFETIME_S = 24 * 3600

IDEMPOTENCY_LIFETIME_S = 24 * 3600
"""A client that repeats a request later than this gets the same ids, but nobody notices if its body is another one."""
GIVEN_LIFETIME_S = 3600
"""How long a label given in the review queue is remembered: it must find its way through Kafka into the receipts by then."""

SKIPPED_LIFETIME_S = 24 * 3600
SKIPPED_MOST = 1000


class Keys:
    """The keys of one installation.

    >>> Keys("shop-").counts("default", "predictions", "hour")
    'shop-:default:counts:predictions:hour'
    """

    def __init__(self, topic_prefix: str = "") -> None:
        self.namespace = topic_prefix or "millrace"

    @property
    def generation(self) -> str:
        """Return the key of the generation marker."""
        return f"{self.namespace}:generation"

    @property
    def filling(self) -> str:
        """Return the key that is there while Redis is filled."""
        return f"{self.namespace}:filling"

    def idempotency(self, route: str, key: str) -> str:
        """Return the key under which it is noted what a client has sent to a route with its idempotency key."""
        return f"{self.namespace}:idempotency:{route}:{hashlib.sha256(key.encode()).hexdigest()}"

    def job(self, name: str) -> str:
        """Return the key of a job's sign of life."""
        return f"{self.namespace}:job:{name}"

    def predictions(self, task: str) -> str:
        """Return the key of the predictions' bodies."""
        return f"{self.namespace}:{task}:predictions"

    def predictions_by_time(self, task: str) -> str:
        """Return the key of the index of all predictions."""
        return f"{self.predictions(task)}:time"

    def predictions_by_label(self, task: str, label: str | None) -> str:
        """Return the key of the index of the predictions of one label."""
        return f"{self.predictions(task)}:label:{label or NO_LABEL}"

    def predictions_arrived(self, task: str) -> str:
        """Return the key of the stream of predictions as they were written."""
        return f"{self.predictions(task)}:arrived"

    def labels(self, task: str) -> str:
        """Return the key of the label receipts."""
        return f"{self.namespace}:{task}:labels"

    def labels_by_time(self, task: str) -> str:
        """Return the key of the index of the label receipts."""
        return f"{self.labels(task)}:time"

    def labels_arrived(self, task: str) -> str:
        """Return the key of the stream of receipts as they changed."""
        return f"{self.labels(task)}:arrived"

    def quality(self, task: str) -> str:
        """Return the key of the quality."""
        return f"{self.namespace}:{task}:quality"

    def trending(self, task: str, kind: NameKind) -> str:
        """Return the key of the trending names of one kind."""
        return f"{self.namespace}:{task}:trending:{kind}"

    def counts(self, task: str, name: CountName, granularity: Granularity) -> str:
        """Return the key of the index of buckets."""
        return f"{self.namespace}:{task}:counts:{name}:{granularity}"

    def bucket(self, task: str, name: CountName, granularity: Granularity, start: int) -> str:
        """Return the key of one bucket of counts."""
        return f"{self.counts(task, name, granularity)}:{start}"

    def claim(self, task: str, event_id: str) -> str:
        """Return the key of who was asked for a label of an event."""
        return f"{self.namespace}:{task}:review:claim:{event_id}"

    def open_review(self, task: str, reviewer: str) -> str:
        """Return the key of the event that a reviewer was asked about last."""
        return f"{self.namespace}:{task}:review:open:{reviewer}"

    def given(self, task: str, event_id: str) -> str:
        """Return the key of what was said of an event and may not be in its receipt yet."""
        return f"{self.namespace}:{task}:review:given:{event_id}"

    def skipped(self, task: str, reviewer: str) -> str:
        """Return the key of the events that a reviewer has skipped."""
        return f"{self.namespace}:{task}:review:skipped:{reviewer}"
