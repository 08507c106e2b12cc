"""What live events tell. Pure."""

from __future__ import annotations

import msgspec

from api.views import PredictionView


class LivePrediction(PredictionView, frozen=True, kw_only=True):
    """A prediction as it came, and how many that this client wanted were passed over before it, since more came than `max_per_second`."""

    passed_over: int


class LiveCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions and labels of all time, and predictions per second over the last ten seconds."""

    task: str
    total: int
    counts: dict[str, int]
    label_states: dict[str, int]
    per_second: float


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the predictions between the last event that a client had and now.

    `sent` of them follow, `passed_over` do not. It is not `complete` if others may be gone, or were too many to look through.
    """

    complete: bool
    sent: int
    passed_over: int


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """Why the connection ends."""

    reason: str
