"""What the API answers about names in the texts and scores over time: the shapes of its JSON. Times are epoch milliseconds. Pure."""

from __future__ import annotations

import msgspec

from schemas.settings import Settings
from schemas.trending import NameKind, Trending, TrendingName
from store.keys import Granularity
from store.reader import Bucket


class TrendingView(msgspec.Struct, frozen=True, kw_only=True):
    """The most frequent hashtags, mentions or words of the newest closed window, equal ones by name; before the first one there are none.

    `before` is the count in the window one length earlier, which ends at `start`, and `change` the difference. `total` and `total_before`
    are the texts of the two windows; a count may be too low by `missed`. `late` texts, since the counting began, came after a window with
    them had closed, and are missing in that; `lost` of these are in no window. docs/trending.md has the rules.
    """

    task: str
    kind: NameKind
    window_ms: int
    slide_ms: int
    start: int | None
    end: int | None
    items: list[TrendingName]
    total: int
    total_before: int
    missed: int
    late: int
    lost: int


class ScoresBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that were scored in the window that starts at `start`, and the share of them for which the served prediction was right."""

    start: int
    labels: int
    correct: int
    accuracy: float


class ScoreHistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """Scores over time, newest window first; windows without a scored label are left out. The window's time is that of the label."""

    task: str
    granularity: Granularity
    buckets: list[ScoresBucket]


def trending_view(task: str, kind: NameKind, window: Trending | None, settings: Settings, *, limit: int) -> TrendingView:
    """Return a window's names as they are shown."""
    if window is None:
        return TrendingView(
            task=task, kind=kind, window_ms=settings.trending_window_ms, slide_ms=settings.trending_slide_ms, start=None, end=None,
            items=[], total=0, total_before=0, missed=0, late=0, lost=0,
        )  # fmt: skip
    return TrendingView(
        task=task, kind=kind, window_ms=window.end - window.start, slide_ms=window.slide_ms, start=window.start, end=window.end,
        items=window.items[:limit], total=window.total, total_before=window.total_before, missed=window.missed, late=window.late,
        lost=window.lost,
    )  # fmt: skip


def score_history_view(task: str, granularity: Granularity, buckets: list[Bucket]) -> ScoreHistoryView:
    """Return counts of scores as they are shown."""
    shown = []
    for bucket in buckets:
        correct = bucket.counts.get("correct", 0)
        labels = correct + bucket.counts.get("wrong", 0)
        shown.append(ScoresBucket(start=bucket.start, labels=labels, correct=correct, accuracy=correct / labels if labels else 0.0))
    return ScoreHistoryView(task=task, granularity=granularity, buckets=shown)
