"""The jobs' history in a data folder, and the states that it has left there."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from schemas.topics import Topic
from stack.folders import write_atomically
from stack.state_sums import METADATA, forget_removed, noted_states

JOBS = ("classify", "learn", "publish")
OUTPUTS: Mapping[str, tuple[Topic, ...]] = {
    "classify": (Topic.PREDICTIONS,),
    "learn": (Topic.MODEL_LOG, Topic.LABEL_STATES),
    "publish": (Topic.AGGREGATES,),
}
"""What a job writes: if that holds records, the job has a past, and may not start without it."""
SAVEPOINTS_KEPT = 3
_HISTORY = 50
_CHECKPOINT = re.compile(r"chk-(\d+)")
_FLINK_ID = re.compile(r"[0-9a-f]{32}")


class Submission(msgspec.Struct, kw_only=True):
    """A job as it was submitted once.

    Attributes:
        job: classify, learn or publish.
        id: Flink's id.
        started_from: path of the state that it was started from; None: empty.
        time: epoch seconds.
        savepoint: path of the savepoint that ended it.
        rewind: since and until when (epoch ms) it may have found output committed that its state did not know of, if that was old.
    """

    job: str
    id: str
    started_from: str | None
    time: float
    savepoint: str | None = None
    rewind: tuple[int, int] | None = None


class History:
    """All submissions of a data folder, oldest first; written at each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all = msgspec.json.decode(path.read_bytes(), type=list[Submission]) if path.exists() else []

    def of(self, job: str) -> list[Submission]:
        """The submissions of a job, oldest first."""
        return [submission for submission in self._all if submission.job == job]

    def add(self, submission: Submission) -> None:
        """Record a submission."""
        self._all = [*self._all, submission]
        mine = self.of(submission.job)
        dropped = {entry.id for entry in mine[:-_HISTORY]}
        self._all = [entry for entry in self._all if entry.id not in dropped]
        self._write()

    def ended(self, flink_id: str, savepoint: str) -> None:
        """Record that a submission ended with a savepoint."""
        for submission in self._all:
            if submission.id == flink_id:
                submission.savepoint = savepoint
        self._write()

    def _write(self) -> None:
        """Write it; on a full disk it is written with the next change, and until then counts by what is in memory."""
        with contextlib.suppress(OSError):
            write_atomically(self._path, msgspec.json.format(msgspec.json.encode(self._all), indent=1))


def local_path(location: str) -> Path:
    """Return the path in a location that Flink gave.

    >>> local_path("file:/a/b").as_posix(), local_path("file:///a/b").as_posix(), local_path("/a").as_posix()
    ('/a/b', '/a/b', '/a')
    """
    return Path(re.sub(r"^file:/+", "/", location))


def is_complete(state: Path) -> bool:
    """Whether a checkpoint or savepoint is complete: its metadata are written last."""
    metadata = state / METADATA
    return metadata.is_file() and metadata.stat().st_size > 0


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints below one submission's folder that are complete, or once were, the highest number first.

    One that was never completed has no metadata, and has committed nothing.
    """
    known = {*(path for path in children(folder) if (path / METADATA).exists()), *noted_states(folder)}
    numbered = [(int(found.group(1)), path) for path in known if (found := _CHECKPOINT.fullmatch(path.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the highest number below one submission's folder."""
    return next((path for path in checkpoints_in(folder) if is_complete(path)), None)


def remove_old_states(history: list[Submission], checkpoints: Path, savepoints: Path) -> list[Path]:
    """Remove what earlier submissions left, once the last one has a checkpoint of its own; returns what was removed."""
    if not history or newest_checkpoint(checkpoints / history[-1].id) is None:
        return []
    current = history[-1].id
    old = [path for path in children(checkpoints) if _FLINK_ID.fullmatch(path.name) and path.name != current]
    kept = [path for path in children(savepoints) if path.is_dir()]
    old += sorted(kept, key=lambda path: path.stat().st_mtime)[:-SAVEPOINTS_KEPT]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    forget_removed(savepoints)
    return old


def unrecorded(history: list[Submission], checkpoints: Path) -> list[Submission]:
    """Return submissions that only their folders tell of, if they are newer than the last recorded one; oldest first."""
    known = {submission.id for submission in history}
    since = history[-1].time if history else 0.0
    job = history[-1].job if history else checkpoints.name
    found = [path for path in children(checkpoints) if _FLINK_ID.fullmatch(path.name) and path.name not in known]
    rewind = history[-1].rewind if history else None
    entries = [Submission(job=job, id=path.name, started_from=None, time=path.stat().st_mtime, rewind=rewind) for path in found]
    return sorted((entry for entry in entries if entry.time >= since), key=lambda entry: entry.time)


def children(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is not there."""
    return list(folder.iterdir()) if folder.is_dir() else []
