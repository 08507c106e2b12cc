"""What a drift detector says."""

from __future__ import annotations

import msgspec


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """The served predictions have come to be wrong more often, says a detector.

    It is the task's alarm `number`, raised by the label of log entry `seq`. `errors_before` and `errors_after` are shares of
    so many labels before and after the change; where it lies is the detector's estimate.
    """

    number: int
    seq: int
    detector: str
    errors_before: float
    labels_before: int
    errors_after: float
    labels_after: int
