"""What the supervisor tells the world: `run/state.json`, replaced atomically."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path

import msgspec

from stack.folders import write_atomically
from stack.process import is_running


class Phase(StrEnum):
    """Where the supervisor is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Condition(StrEnum):
    """How a part or a job is.

    `failed` is reported after several quick deaths in a row; the supervisor goes on trying, ever slower.
    """

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    RESTARTING = "restarting"
    FAILED = "failed"
    REFUSED = "refused"
    STOPPING = "stopping"
    STOPPED = "stopped"


class PartState(msgspec.Struct, kw_only=True):
    """A part: `since` and `process_started` are epoch seconds, `restarts` counts starts after the first."""

    name: str
    state: Condition
    since: float
    pid: int | None = None
    process_started: float | None = None
    port: int | None = None
    url: str | None = None
    restarts: int = 0
    error: str | None = None


class JobState(msgspec.Struct, kw_only=True):
    """A job.

    Attributes:
        job: classify, learn or publish.
        state: how it is.
        since: epoch seconds of the last change of `state`.
        id: Flink's id of it.
        started_from: the checkpoint or savepoint that it was started from.
        restarts: restarts by Flink since it was submitted.
        resubmissions: how often the supervisor submitted it again.
        checkpoints_completed: since it was submitted.
        checkpoints_failed: since it was submitted.
        checking: whether commits have failed, and it is being looked whether output is missing.
        unanswered: records without output, because the broker has aborted what a checkpoint had promised.
        refused_states: newer states that were passed over when it was started, and why.
        error: why it is not healthy.
    """

    job: str
    state: Condition
    since: float
    id: str | None = None
    started_from: str | None = None
    restarts: int = 0
    resubmissions: int = 0
    checkpoints_completed: int = 0
    checkpoints_failed: int = 0
    checking: bool = False
    unanswered: int = 0
    refused_states: list[str] = []
    error: str | None = None


class Addresses(msgspec.Struct, kw_only=True, frozen=True):
    """Where to reach the parts: bootstrap servers, a URL, `host:port`, the URL of the API, and the URLs of all metrics by part."""

    kafka: str
    redis: str
    flink_rest: str
    api: str
    metrics: dict[str, str] = {}


class StackState(msgspec.Struct, kw_only=True):
    """All of it. `settings` is the environment with which another program joins this stack, `notes` what is no trouble and good to know."""

    v: int = 1
    phase: Phase
    pid: int
    process_started: float
    since: float
    data_dir: str
    addresses: Addresses
    settings: dict[str, str]
    topics_ready: bool = False
    parts: list[PartState] = []
    jobs: list[JobState] = []
    notes: list[str] = []
    error: str | None = None

    def supervisor_runs(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return self.phase is not Phase.STOPPED and is_running(self.pid, self.process_started)

    def healthy(self) -> bool:
        """Whether everything is as it should be."""
        return self.phase is Phase.RUNNING and not self.troubles()

    def troubles(self) -> list[str]:
        """A line for each part and job that is not healthy."""
        parts = [f"{part.name} is {part.state}{_because(part.error)}" for part in self.parts if part.state is not Condition.HEALTHY]
        jobs = [f"job {job.job} is {job.state}{_because(job.error)}" for job in self.jobs if job.state is not Condition.HEALTHY]
        return parts + jobs + [f"job {job.job}: {missing_output(job)}" for job in self.jobs if job.unanswered]


def missing_output(job: JobState) -> str:
    """Say that output is missing, and what to do."""
    return (
        f"{job.unanswered} records have no output, because the broker has aborted what a checkpoint had promised: "
        f"`millrace job stop {job.job}`, then `millrace job submit {job.job} --empty` writes what is missing, and only that, "
        "as long as the topics hold it"
    )


def _because(error: str | None) -> str:
    return f": {error}" if error else ""


def read_state(path: Path) -> StackState | None:
    """Return the state in the file, or None if there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackState)
    except FileNotFoundError:
        return None


class StateFile:
    """Writes the state when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = b""

    def write(self, state: StackState) -> None:
        """Write it, unless the file says the same."""
        data = msgspec.json.encode(state)
        if data != self._last:
            # A full disk must not end the supervisor: the next change, or the next look, tries again.
            with contextlib.suppress(OSError):
                write_atomically(self._path, msgspec.json.format(data, indent=1), private=True)
                self._last = data
