"""What the labels of reviewers say about the predictions, and about the reviewers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from api.review.views import RandomView, ReviewerView, StatsView
from online_model.review.agreement import agreement, wilson
from online_model.review.chance import is_random
from online_model.review.opinions import labels_by_reviewer
from store.recent.review import Reviewed


def stats_view(task: str, queue: Mapping[str, int], events: Sequence[Reviewed], *, random_share: float, opinions: int) -> StatsView:
    """Return the statistics of some events that reviewers have labelled.

    Args:
        task: whose they are.
        queue: how many events each slice could draw.
        events: those of which reviewers said something.
        random_share: share of the events that belongs to the random slice.
        opinions: labels of one event that count for the agreement, the first ones: further reviewers are asked only where these differ,
            which would make them look less agreed than they are.
    """
    said = [list(islice(labels_by_reviewer(event.reviews).values(), max(2, opinions))) for event in events]
    labels = Counter(name for event in events for name in {review.reviewer for review in event.reviews})
    most_first = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    return StatsView(
        task=task,
        queue=dict(queue),
        reviewed=len(events),
        random=random_view(events, random_share),
        agreement=agreement(said),
        reviewers=[ReviewerView(reviewer=name, labels=count) for name, count in most_first],
    )


def random_view(events: Sequence[Reviewed], share: float) -> RandomView:
    """Return how the served predictions fared where chance alone has asked: by the first label that the random slice got of an event.

    Neither labels that came otherwise count, nor those of events that do not belong to the slice, whatever they say of themselves.
    """
    outcomes = [
        first.label == event.label
        for event in events
        if is_random(event.event_id, share) and (first := next((r for r in event.reviews if r.drawn == "random"), None)) is not None
    ]
    labels, correct = len(outcomes), sum(outcomes)
    if not labels:
        return RandomView(labels=0, correct=0, accuracy=None, low=None, high=None)
    low, high = wilson(correct, labels)
    return RandomView(labels=labels, correct=correct, accuracy=correct / labels, low=low, high=high)
