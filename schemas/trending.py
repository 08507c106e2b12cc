"""The record of trending names: the newest closed window of a task."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.records import EpochMs, Record

NameKind = Literal["hashtag", "mention", "word"]
"""What a name is; it is shown case-folded, a hashtag or mention without its sign."""


class TrendingName(msgspec.Struct, frozen=True, kw_only=True):
    """A name, in how many texts of the window it stands, in how many of the window one length earlier, and the difference."""

    name: str
    count: int
    before: int
    change: int


class Trending(Record, frozen=True, kw_only=True):
    """The most frequent names of a closed window. Topic `trending`, key `task/kind`, compacted; docs/trending.md.

    The window holds the texts of predictions with Kafka's time from `start` up to, without, `end`; `total` is how many, and `total_before`
    those of the window that ends at `start`. A count may be too low by `missed` at most, because rare names were left out. Since the
    counting began, `late` texts of the task came after a window with them had closed, and `lost` of these are in no window.
    """

    task: str
    kind: NameKind
    start: EpochMs
    end: EpochMs
    slide_ms: int
    items: list[TrendingName]
    total: int
    total_before: int
    missed: int = 0
    late: int = 0
    lost: int = 0
