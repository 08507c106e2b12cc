"""The rule by which a job resumes: from its newest intact state; from an older one it writes nothing again; never from nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.topics import Topic
from stack.errors import StateMissing
from stack.jobs import OUTPUTS, Submission, checkpoints_in, is_complete, local_path, unrecorded
from stack.state_sums import METADATA, noted_time, problem

REWIND_MARGIN_MS = 150_000
"""What a checkpoint commits is written while it is made, and that may take `execution.checkpointing.timeout` (two minutes)."""

INHERIT_MS = 24 * 3600 * 1000
"""A job that was started from nothing may take long to come to where it was."""

REBUILDABLE = ("learn",)
"""Jobs whose state is a function of the topics they read, as long as those are whole."""


@dataclass(frozen=True)
class Start:
    """What a job starts from.

    Attributes:
        path: the state; None for none.
        rewound_since: epoch ms since which the job may have committed output that the state does not know of; None: it knows all.
        refused: newer states that were passed over, and why.
    """

    path: str | None
    rewound_since: int | None = None
    refused: list[str] = field(default_factory=list)


def states(history: list[Submission], checkpoints: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield the states of a job, newest first, also such as are broken or gone, with the rewind of the submission that made or used each.

    Of each submission, the last one first, that is the savepoint with which it ended, its checkpoints, and what it was started from.
    One that was never recorded (a crash right after it) counts by its folder.

    Args:
        history: the job's submissions, oldest first.
        checkpoints: the job's checkpoint folder, with a folder for each Flink id.
    """
    seen: set[Path] = set()
    for submission in reversed([*history, *unrecorded(history, checkpoints)]):
        own = [str(path) for path in checkpoints_in(checkpoints / submission.id)]
        for state in (submission.savepoint, *own, submission.started_from):
            if state and local_path(state) not in seen:
                seen.add(local_path(state))
                yield state, submission.rewind


def newest_state(history: list[Submission], checkpoints: Path, *, inherit_ms: int = INHERIT_MS) -> Start | None:
    """Return the newest state of a job that is intact, or None if there is none.

    A job that was started from an old state may not have passed over all that was committed when it made a state of its own. So its
    rewind is inherited by what starts from that, until the state is younger by `inherit_ms` than the rewind.
    """
    refused: list[str] = []
    for state, rewind in states(history, checkpoints):
        path = local_path(state)
        if (reason := problem(path)) is None and is_complete(path):
            since = [state_time(path)] if refused else []
            if rewind and made_at(path) < rewind[1] + inherit_ms:
                since.append(rewind[0])
            return Start(state, min(since, default=None), refused)
        refused.append(f"{path}: {reason or 'it is gone, or cut off'}")
    return Start(None, 0, refused) if refused else None


def chosen_start(path: str | None) -> Start:
    """Return the start from a state that the user names, or from none: it may be old, so nothing that is committed is written again.

    Raises:
        StateMissing: if the state is damaged.
    """
    if path is None:
        return Start(None, 0)
    reason = problem(local_path(path))
    if reason is not None:
        raise StateMissing(f"{path}: {reason}. Name another state; `millrace job list` shows what the jobs were started from.")
    return Start(path, state_time(local_path(path)))


def state_time(state: Path) -> int:
    """Return the time (epoch ms) since which output may have been committed that the state does not know of."""
    return max(0, made_at(state) - REWIND_MARGIN_MS)


def made_at(state: Path) -> int:
    """Return when a state was made, epoch ms: a copy may be younger, the time that was noted with its checksum is not."""
    return min(int((state / METADATA).stat().st_mtime * 1000), noted_time(state) or sys.maxsize)


def resume_from(
    job: str,
    history: list[Submission],
    checkpoints: Path,
    *,
    has_output: Callable[[Topic], bool],
    is_whole: Callable[[Topic], bool],
    inherit_ms: int = INHERIT_MS,
) -> Start:
    """Return what a job starts from; nothing is right only for a job without a past, or one that can be rebuilt from whole topics.

    Args:
        job: its name.
        history: its submissions, oldest first.
        checkpoints: its checkpoint folder.
        has_output: whether a topic holds records; asked only if no state is found.
        is_whole: whether no record of a topic has been deleted yet; asked only then.
        inherit_ms: how long a rewind is inherited, see `newest_state`.

    Raises:
        StateMissing: if there is no intact state, but output.
    """
    found = newest_state(history, checkpoints, inherit_ms=inherit_ms)
    if found is not None and found.path is not None:
        return found
    refused = found.refused if found else []
    filled = [topic for topic in OUTPUTS[job] if has_output(topic)]
    if not filled:
        return Start(None, None, refused)
    if job in REBUILDABLE and all(is_whole(topic) for topic in (Topic.PREDICTIONS, Topic.FEEDBACK, *OUTPUTS[job])):
        return Start(None, 0, refused)
    lost = "; ".join(refused[:3]) or f"there is none below {checkpoints}"
    raise StateMissing(
        f"no intact checkpoint or savepoint of {job} is left ({lost}), but {', '.join(filled)} holds records. "
        f"Bring the folder back, or name a state: `millrace job submit {job} --from PATH`, or start it over: `… {job} --empty`"
        f"{'' if job == 'publish' else ' (what is committed and still in the topics is not written again)'}."
    )
