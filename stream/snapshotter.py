"""When the learner writes a snapshot, and how one becomes an entry of the log."""

from __future__ import annotations

from online_model.replica import Replica
from schemas.log import SnapshotEntry
from schemas.settings import Settings
from store.artifacts import ArtifactFolder


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

    @property
    def pending(self) -> bool:
        """Whether labels were learned since the last snapshot, if any is ever written."""
        return self._writes and self._labels > 0

    def learned(self) -> None:
        """Count a label."""
        self._labels += 1

    def due(self, now: int) -> bool:
        """Whether so many labels were learned, or any label so long ago, that a snapshot is due."""
        late = now - self._last >= self._settings.snapshot_interval_s * 1000
        return self.pending and (late or self._labels >= self._settings.snapshot_labels)

    def write(self, replica: Replica, now: int) -> SnapshotEntry:
        """Store a snapshot of the replica, and return the entry that announces it."""
        data = replica.snapshot()
        address = f"{replica.task}/{replica.line}-{replica.seq:012d}-{now}.safetensors"
        sha256 = self._artifacts.put(address, data)
        self._last, self._labels = now, 0
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
        for address in sorted(self._artifacts.list(f"{task}/"))[: -self._settings.snapshots_kept]:
            self._artifacts.delete(address)
