"""Every Redis key and its lifetime. The one place that knows them.

With `ns` = the namespace (the topic prefix, or `millrace`) and `task` = a task's name:

| key | type | holds | lifetime |
|---|---|---|---|
| `ns:generation` | string | a random id: whether this Redis still holds what was written to it | until Redis is emptied |
| `ns:filling` | string | a random id, while it is filled from the topics | until it is filled, or emptied again |
| `ns:job:NAME` | string | epoch ms at which the job was last seen | one day |
| `ns:task:predictions` | hash | event id → label's length, `:`, label, prediction as JSON | the newest `recent` |
| `ns:task:predictions:time` | sorted set | event id, by time of prediction | as its body |
| `ns:task:predictions:label:LABEL` | sorted set | the same for one label; LABEL is empty if the model knew no class | as its body |
| `ns:task:predictions:arrived` | stream | event ids in the order of writing, for followers | about the newest `recent` |
| `ns:task:labels` | hash | event id → msgpack list of [partition, offset, final, time, state as JSON] | the newest `recent` |
| `ns:task:labels:time` | sorted set | event id, by time of its newest state | as its body |
| `ns:task:labels:arrived` | stream | event ids in the order in which their receipts changed | about the newest `recent` |
| `ns:task:quality` | string | quality as JSON | for ever (one of a task) |
| `ns:task:trending:KIND` | string | the newest closed window of hashtags, mentions or words as JSON | see `TRENDING_LIFETIME_MS` |
| `ns:task:counts:NAME:GRANULARITY` | sorted set | starts of the buckets | as the buckets |
| `ns:task:counts:NAME:GRANULARITY:START` | hash | label → count | see `COUNT_LIFETIME_MS` |
"""

from __future__ import annotations

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
