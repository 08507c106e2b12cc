"""The jobs' history in a data folder, and the rule by which a job resumes: from the newest complete state, or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from schemas.topics import Topic
from stack.errors import StateMissing
from stack.folders import write_atomically

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
    """

    job: str
    id: str
    started_from: str | None
    time: float
    savepoint: str | None = None


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
        write_atomically(self._path, msgspec.json.format(msgspec.json.encode(self._all), indent=1))


def local_path(location: str) -> Path:
    """Return the path in a location that Flink gave.

    >>> local_path("file:/a/b").as_posix(), local_path("file:///a/b").as_posix(), local_path("/a").as_posix()
    ('/a/b', '/a/b', '/a')
    """
    return Path(re.sub(r"^file:/+", "/", location))


def is_complete(state: Path) -> bool:
    """Whether a checkpoint or savepoint is complete: its metadata are written last."""
    metadata = state / "_metadata"
    return metadata.is_file() and metadata.stat().st_size > 0


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint with the highest number below one submission's folder."""
    numbered = [(int(found.group(1)), path) for path in _children(folder) if (found := _CHECKPOINT.fullmatch(path.name))]
    return next((path for _, path in sorted(numbered, reverse=True) if is_complete(path)), None)


def newest_state(history: list[Submission], checkpoints: Path) -> str | None:
    """Return the newest complete state of a job.

    That is the savepoint with which the last submission ended; else its newest complete checkpoint; else that of the submission
    before, and so on back; else what a submission was started from. One that was never recorded
    (a crash right after it) counts by its folder.

    Args:
        history: the job's submissions, oldest first.
        checkpoints: the job's checkpoint folder, with a folder for each Flink id.

    Raises:
        StateMissing: if the last submission ended with a savepoint, and that is gone: any older state would repeat output.
    """
    last = True
    for submission in reversed([*history, *_unrecorded(history, checkpoints)]):
        if submission.savepoint:
            if is_complete(local_path(submission.savepoint)):
                return submission.savepoint
            if last:
                raise StateMissing(f"the savepoint {submission.savepoint}, with which {submission.job} was stopped, is gone")
        found = newest_checkpoint(checkpoints / submission.id)
        if found is not None:
            return str(found)
        if submission.started_from and is_complete(local_path(submission.started_from)):
            return submission.started_from
        last = False
    return None


def resume_from(job: str, history: list[Submission], checkpoints: Path, *, has_output: Callable[[Topic], bool]) -> str | None:
    """Return what a job starts from; None means empty, which is right only for a job without a past.

    Args:
        job: its name.
        history: its submissions, oldest first.
        checkpoints: its checkpoint folder.
        has_output: whether a topic holds records; asked only if no state is found.

    Raises:
        StateMissing: if there is no state, but output.
    """
    advice = f"Bring the folder back, or name a state: `millrace job submit {job} --from PATH`, or start it over: `… {job} --empty`."
    try:
        found = newest_state(history, checkpoints)
    except StateMissing as error:
        raise StateMissing(f"{error}. {advice}") from error
    if found is None:
        filled = [topic for topic in OUTPUTS[job] if has_output(topic)]
        if filled:
            raise StateMissing(
                f"no checkpoint or savepoint of {job} is left below {checkpoints}, but {', '.join(filled)} holds records. {advice}"
            )
    return found


def remove_old_states(history: list[Submission], checkpoints: Path, savepoints: Path) -> list[Path]:
    """Remove what earlier submissions left, once the last one has a checkpoint of its own; returns what was removed."""
    if not history or newest_checkpoint(checkpoints / history[-1].id) is None:
        return []
    current = history[-1].id
    old = [path for path in _children(checkpoints) if _FLINK_ID.fullmatch(path.name) and path.name != current]
    old += sorted(_children(savepoints), key=lambda path: path.stat().st_mtime)[:-SAVEPOINTS_KEPT]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return old


def _unrecorded(history: list[Submission], checkpoints: Path) -> list[Submission]:
    """Return submissions that only their folders tell of, if they are newer than the last recorded one; oldest first."""
    known = {submission.id for submission in history}
    since = history[-1].time if history else 0.0
    job = history[-1].job if history else checkpoints.name
    found = [path for path in _children(checkpoints) if _FLINK_ID.fullmatch(path.name) and path.name not in known]
    entries = [Submission(job=job, id=path.name, started_from=None, time=path.stat().st_mtime) for path in found]
    return sorted((entry for entry in entries if entry.time >= since), key=lambda entry: entry.time)


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
