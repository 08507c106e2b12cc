"""Keeps, of all predictions of a task, the newest that Redis must show: of an event that was predicted twice, the first one."""

from __future__ import annotations

import heapq
from array import array

import msgspec
import numpy as np

from schemas.records import Prediction


class NewestPredictions:
    """Takes in predictions in the order of their partitions; sixteen bytes stay of each, to know a second one of an event."""

    def __init__(self, *, newest: int, recent: int) -> None:
        """Begin empty: so many are asked for, and so many Redis keeps."""
        self._newest = newest
        self._recent = recent
        self._ids, self._times = array("q"), array("q")
        self._heap: list[tuple[int, str, int, bytes]] = []

    def add(self, event_id: str, predicted_at: int, value: bytes) -> None:
        """Take in a prediction."""
        row = (predicted_at, event_id, len(self._ids), value)
        self._ids.append(hash(event_id))
        self._times.append(predicted_at)
        # Twice as many as are wanted, for some may turn out to be second ones.
        if len(self._heap) < 2 * self._newest:
            heapq.heappush(self._heap, row)
        elif row > self._heap[0]:
            heapq.heapreplace(self._heap, row)

    def read(self) -> tuple[list[Prediction], set[str]]:
        """Return the newest first predictions, latest first, within a millisecond by id, descending; and the ids that may differ.

        An event that was predicted again long after may have left Redis meanwhile: then the second prediction is shown, or none.
        """
        rows = sorted(self._heap, reverse=True)
        ids = np.frombuffer(self._ids, np.int64) if self._ids else np.empty(0, np.int64)
        of_rows = np.flatnonzero(np.isin(ids, [hash(event_id) for _, event_id, _, _ in rows]))
        first: dict[int, int] = {}
        for index in of_rows.tolist():
            first.setdefault(int(ids[index]), index)
        times = np.sort(np.frombuffer(self._times, np.int64)) if self._times else ids
        newest, open_ids = [], set()
        for predicted_at, event_id, index, value in rows:
            before = first[hash(event_id)]
            if before == index:
                newest.append(msgspec.json.decode(value, type=Prediction))
            elif np.searchsorted(times, predicted_at, "right") - np.searchsorted(times, self._times[before]) > self._recent // 2:
                open_ids.add(event_id)
        return newest[: self._newest], open_ids
