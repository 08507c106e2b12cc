"""The client's methods about the review queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from client import review_types, routes, types
from client.calls import Calls


class ReviewClient:
    """Takes events from the review queue, and gives labels back."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def next(self, reviewer: str, *, task: str | None = None) -> review_types.ReviewNext:
        """Return what is worth labelling next; it is kept for this reviewer for a while."""
        return self._calls.ask(routes.REVIEW_NEXT, query={"task": task, "reviewer": reviewer})

    def label(
        self,
        item: review_types.ReviewItem,
        *,
        reviewer: str,
        label: str | None = None,
        verdict: Literal["right", "wrong"] | None = None,
        comment: str | None = None,
    ) -> types.Accepted:
        """Give a label, or a verdict on the one that was served."""
        given = {"label": label, "verdict": verdict, "comment": comment}
        body = {"reviewer": reviewer, "claim": item.claim, **{name: value for name, value in given.items() if value is not None}}
        return self._calls.ask(routes.REVIEW_LABEL, query={"task": item.task}, body=body, path={"event_id": item.event_id})

    def skip(self, item: review_types.ReviewItem, *, reviewer: str) -> review_types.Skipped:
        """Let somebody else label it."""
        body = {"reviewer": reviewer, "claim": item.claim}
        return self._calls.ask(routes.REVIEW_SKIP, query={"task": item.task}, body=body, path={"event_id": item.event_id})

    def stats(self, *, task: str | None = None) -> review_types.ReviewStats:
        """Return how the review goes."""
        return self._calls.ask(routes.REVIEW_STATS, query={"task": task})

    def export(
        self, *, task: str | None = None, limit: int | None = None, reviewed: bool | None = None, reviewers: bool | None = None
    ) -> list[dict[str, Any]]:
        """Return events with predictions and annotations, in Label Studio's JSON."""
        query = {"task": task, "limit": limit, "reviewed": reviewed, "reviewers": reviewers}
        return self._calls.ask(routes.REVIEW_EXPORT, query=query)

    def load(self, tasks: Sequence[dict[str, Any]], *, task: str | None = None) -> review_types.Imported:
        """Send annotations, in Label Studio's JSON."""
        return self._calls.ask(routes.REVIEW_IMPORT, query={"task": task}, body=tasks)
