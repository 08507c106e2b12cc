"""When the learner writes a snapshot, and how one becomes an entry of the log."""

from __future__ import annotations

import re

from online_model.replica import Replica
from schemas.log import SnapshotEntry
from schemas.settings import Settings
from store.artifacts import ArtifactFolder

_ADDRESS = re.compile(r"-(\d+)-(\d+)\.safetensors\Z")


class Snapshotter:
    """Writes the snapshots of one task to artifact storage; keeps the newest few.

    A model that can be stored only as a pickle is stored if that is allowed, and else never.
    """

    def __init__(self, settings: Settings, artifacts: ArtifactFolder, replica: Replica, now: int) -> None:
        self._settings = settings
        self._writes = settings.allow_pickle or not replica.model.has_pickle
        self._artifacts = artifacts
        self._last = now
        self._labels = 0
        self._changed = False

    @property
    def pending(self) -> bool:
        """Whether something came since the last snapshot, if any is ever written."""
        return self._writes and (self._labels > 0 or self._changed)

    def learned(self) -> None:
        """Count a label, or a verdict."""
        self._labels += 1

    def changed(self) -> None:
        """Note a change of the lines: a snapshot is due at once, since predictors load all lines from it."""
        self._changed = True

    def due(self, now: int) -> bool:
        """Whether lines have changed, so many labels were learned, or any label so long ago, that a snapshot is due."""
        late = now - self._last >= self._settings.snapshot_interval_s * 1000
        return self.pending and (self._changed or late or self._labels >= self._settings.snapshot_labels)

    def write(self, replica: Replica, now: int) -> SnapshotEntry:
        """Store a snapshot of the replica, and return the entry that announces it."""
        data = replica.snapshot()
        address = f"{replica.task}/{replica.line}-{replica.seq:012d}-{now}.safetensors"
        sha256 = self._artifacts.put(address, data)
        self._last, self._labels, self._changed = now, 0, False
        self._remove_old(replica.task)
        return SnapshotEntry(
            seq=replica.seq + 1,
            task=replica.task,
            time=now,
            at_seq=replica.seq,
            line=replica.line,
            address=address,
            sha256=sha256,
            size_bytes=len(data),
        )

    def _remove_old(self, task: str) -> None:
        """Remove all but the newest snapshots, by seq; those that were never announced fall away with the rest."""
        stored = sorted((found, address) for address in self._artifacts.list(f"{task}/") if (found := _age(address)) is not None)
        for _, address in stored[: -self._settings.snapshots_kept]:
            self._artifacts.delete(address)


def _age(address: str) -> tuple[int, int] | None:
    """Return seq and time in the address of a snapshot, whatever its line is called; None for something else.

    >>> _age("default/r4200-1a2b3c4d-000000004300-1700000000000.safetensors")
    (4300, 1700000000000)
    """
    found = _ADDRESS.search(address)
    return None if found is None else (int(found[1]), int(found[2]))
