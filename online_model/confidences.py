"""How sure the served predictions of the last labels were, and which were right: what a reliability diagram is drawn from."""

from __future__ import annotations

from collections import deque

from online_model.prequential import scored, truth_in
from schemas.log import AnyLogEntry, LabelEntry, VerdictEntry


class Confidences:
    """Of the last `window` labels and verdicts that score a prediction: the probability of its label, and whether it was right.

    It is not in a replica, whose snapshots it would make longer: any part of the log has it.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._recent: deque[tuple[float, bool]] = deque(maxlen=window)

    def apply(self, entry: AnyLogEntry) -> None:
        """Take in the next entry of the log; one that scores nothing, or a prediction without a label, changes nothing."""
        if not isinstance(entry, LabelEntry | VerdictEntry):
            return
        served = scored(entry)
        if served is not None and served.label is not None and served.label in served.proba:
            self._recent.append((served.proba[served.label], served.label == truth_in(entry)))

    def known(self) -> list[tuple[float, bool]]:
        """Return confidence and outcome of each, oldest first."""
        return list(self._recent)
