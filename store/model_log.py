"""A replica from artifact storage and the model log: the newest intact snapshot, the lines that came in after it, the entries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

from online_model.models import TextModel
from online_model.replica import LogGap, Replica, SnapshotError
from schemas.log import AnyLogEntry, ReleaseEntry, RollbackEntry
from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing
from store.lines import ReleaseUnusable, build_line
from store.log_reader import ModelLogReader, ModelUnavailable, partition_of

__all__ = ["ModelLogReader", "ModelUnavailable", "catch_up", "load_replica", "partition_of"]

log = logging.getLogger(__name__)


def load_replica(
    reader: ModelLogReader,
    artifacts: ArtifactFolder,
    new: Replica,
    *,
    up_to_seq: int | None = None,
    allow_pickle: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Replica:
    """Return the model of the task of `new`: the newest intact snapshot of such a model, then the log after it.

    With `up_to_seq`, snapshots and entries beyond it are left out; a log that ends earlier gives a replica that stands
    earlier (see its `seq`). Without such a snapshot `new` itself learns the log from its beginning.

    Args:
        new: the replica as it is configured, before the first entry of the log.
        allow_pickle: whether a snapshot that holds a pickle may be loaded.
        progress: called with the seq that is reached, of the snapshot and after each entry.

    Raises:
        ModelUnavailable: if neither an intact snapshot nor the log's start is there.
        KafkaUnavailable: if the log cannot be read.
    """
    task = new.task
    start, replica = _from_snapshot(reader, artifacts, new, up_to_seq, allow_pickle=allow_pickle)
    if replica is None:
        if reader.starts_late(task) and next(reader.entries(task), None) is None:
            raise ModelUnavailable(f"task {task}: the start of {reader.topic} was deleted and no snapshot is left; restore one of them")
        replica = new
    replica.drift = replica.drift.with_detector(new.drift.detector)
    progress(replica.seq)
    catch_up(replica, reader, artifacts, start=start, up_to_seq=up_to_seq, progress=progress)
    replica.drift.prepare()
    return replica


def catch_up(
    replica: Replica,
    reader: ModelLogReader,
    artifacts: ArtifactFolder | None = None,
    *,
    start: int | None = None,
    up_to_seq: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Replica:
    """Apply the entries after the replica's seq, and return it; `start` as in `ModelLogReader.entries`.

    The model of a line that comes in is built at once, from `artifacts` and the log; without them, or if it cannot be had, the
    replica goes on with what it has, and `replica.missing` names the line.

    Raises:
        ModelUnavailable: if the log begins after the next entry.
        KafkaUnavailable: if the log cannot be read.
    """
    for entry in reader.entries(replica.task, after_seq=replica.seq, start=start):
        if up_to_seq is not None and entry.seq > up_to_seq:
            break
        try:
            replica.apply(entry, brought=None if artifacts is None else _brought(replica, entry, reader, artifacts))
        except LogGap as error:
            raise ModelUnavailable(
                f"task {replica.task}: no intact snapshot reaches the first entry left in {reader.topic} ({error})"
            ) from error
        progress(replica.seq)
    return replica


def _brought(replica: Replica, entry: AnyLogEntry, reader: ModelLogReader, artifacts: ArtifactFolder) -> TextModel | None:
    """Return the model of a line that an entry brings in and that is not held, None if there is none or it cannot be had."""
    if not isinstance(entry, ReleaseEntry | RollbackEntry) or replica.holds(entry.line) or entry.seq != replica.seq + 1:
        return None
    try:
        return build_line(reader, artifacts, entry.line, entry.origin, new=replica, up_to_seq=entry.seq - 1)
    except ReleaseUnusable as error:
        log.error(  # noqa: TRY400 - the reason says it all, a traceback nothing
            "task %s: line %s came in with entry %d and cannot be had: %s. %s goes on serving here",
            *(replica.task, entry.line, entry.seq, error, replica.line),
        )
        return None


def _from_snapshot(
    reader: ModelLogReader, artifacts: ArtifactFolder, new: Replica, up_to_seq: int | None, *, allow_pickle: bool
) -> tuple[int | None, Replica | None]:
    """Return the replica of the newest intact snapshot at or before `up_to_seq`, if there is one, after the offset of its announcement.

    A snapshot of a model that is configured otherwise is passed over: the log makes the configured one.
    """
    task, wanted = new.task, new.model.specification
    with closing(reader.snapshots(task)) as snapshots:
        for offset, entry in snapshots:
            if up_to_seq is not None and entry.at_seq > up_to_seq:
                continue
            try:
                replica = Replica.from_snapshot(artifacts.get(entry.address, entry.sha256), model=wanted, allow_pickle=allow_pickle)
            except (ArtifactMissing, ArtifactCorrupt, SnapshotError) as error:
                log.warning("task %s: snapshot at seq %d is skipped: %s", task, entry.at_seq, error)
                continue
            if replica.quality.window != new.quality.window:
                log.warning("task %s: snapshot at seq %d is skipped: its window of scores has another length", task, entry.at_seq)
                continue
            if (replica.task, replica.seq) == (task, entry.at_seq):
                return offset, replica
            log.warning("task %s: %s holds task %s at seq %d, not seq %d", task, entry.address, replica.task, replica.seq, entry.at_seq)
    return None, None
