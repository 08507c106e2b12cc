"""The harm: each function does it to a running stack, and returns the moment (monotonic seconds) at which it was over."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from stack.embedded import Stack
from stack.jobs import newest_checkpoint
from stack.mailbox import JobRequest, ask
from stack.state import JobState
from stack.state_sums import METADATA

PAUSE_S = 30.0
SHORT_TIMEOUT_S = 20
AWAY_S = 45.0
FULL_S = 15.0
_JOBS = ("classify", "learn", "publish")


def kill(part: str) -> Callable[[Stack], float]:
    """Return a fault: `kill -9` of a part."""

    def inject(stack: Stack) -> float:
        return _kill(stack, part)

    return inject


def crash_the_interpreter(stack: Stack) -> float:
    """Let the process that holds the Python interpreter fault, as a broken native library does: in thread mode that is the TaskManager."""
    os.kill(stack.pids()["taskmanager"], signal.SIGSEGV)
    return time.monotonic()


def kill_in_a_checkpoint(stack: Stack) -> float:
    """Kill the TaskManager while a checkpoint of learn is being made."""
    folder = stack.folder.checkpoints / "learn" / str(_job(stack, "learn").id)
    # Its folder is made first, and its metadata are written last.
    _until(lambda: any(not (path / METADATA).exists() for path in folder.glob("chk-*[0-9]")), "a checkpoint is being made", every_s=0.001)
    return _kill(stack, "taskmanager")


def kill_before_the_commit(job: str) -> Callable[[Stack], float]:
    """Return a fault: kill the TaskManager as soon as a checkpoint of the job is complete; its transactions are committed after that."""

    def inject(stack: Stack) -> float:
        folder = stack.folder.checkpoints / job / str(_job(stack, job).id)
        before = newest_checkpoint(folder)
        _until(lambda: newest_checkpoint(folder) != before, "the next checkpoint is complete", every_s=0.001)
        return _kill(stack, "taskmanager")

    return inject


def kill_before_the_announcement(stack: Stack) -> float:
    """Kill the TaskManager as soon as the learner has written a snapshot, before that is announced and committed."""
    folder = Path(stack.settings.artifacts)
    before = set(folder.rglob("*.safetensors"))
    _until(lambda: set(folder.rglob("*.safetensors")) - before, "the learner writes a snapshot", every_s=0.001)
    return _kill(stack, "taskmanager")


def fail_operators(stack: Stack) -> float:
    """Let a Python operator of each job raise an error."""
    for job in _JOBS:
        file = Path(stack.settings.drill_folder) / job
        file.touch()
        _until(lambda file=file: not file.exists(), f"an operator of {job} has failed")  # type: ignore[misc]  # a lambda's default is untyped
    return time.monotonic()


def kill_everything(stack: Stack) -> float:
    """Kill the supervisor, and with it everything, as a machine that loses power would; then start the stack again."""
    pids = stack.pids()
    os.kill(pids["supervisor"], signal.SIGKILL)
    stack.stop(savepoint=False)
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), "all parts have ended with the supervisor")
    began = time.monotonic()
    stack.start()
    return began


def pause(part: str) -> Callable[[Stack], float]:
    """Return a fault: a part stands still for half a minute (SIGSTOP), as in a long garbage collection or a frozen machine."""

    def inject(stack: Stack) -> float:
        with _stopped(stack.pids()[part]):
            time.sleep(PAUSE_S)
        return time.monotonic()

    return inject


def kill_repeatedly(stack: Stack) -> float:
    """Kill a random part every four seconds, six times."""
    for _ in range(6):
        time.sleep(4)
        victims = sorted(set(stack.pids()) & {"taskmanager", "jobmanager", "kafka", "redis", "api"})
        _kill(stack, random.choice(victims))
    return time.monotonic()


def flush_redis(stack: Stack) -> float:
    """Remove everything from Redis while it runs."""
    with redis.Redis.from_url(stack.settings.redis) as client:
        client.flushall()
    return time.monotonic()


def redis_comes_back_empty(stack: Stack) -> float:
    """Kill Redis and remove its files before it is started again."""
    with _stopped(stack.pids()["supervisor"]):
        os.kill(stack.pids()["redis"], signal.SIGKILL)
        time.sleep(1)
        for path in stack.folder.redis.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return time.monotonic()


def redis_read_only(stack: Stack) -> float:
    """Make Redis a read-only replica of nothing for fifteen seconds."""
    with redis.Redis.from_url(stack.settings.redis) as client:
        client.slaveof("127.0.0.1", "1")
        time.sleep(15)
        client.slaveof()
    return time.monotonic()


def away(part: str, seconds: float) -> Callable[[Stack], float]:
    """Return a fault: a part is gone, and nothing starts it again, for so long."""

    def inject(stack: Stack) -> float:
        pids = stack.pids()
        with _stopped(pids["supervisor"]):
            os.kill(pids[part], signal.SIGKILL)
            time.sleep(seconds)
        return time.monotonic()

    return inject


def disk_full(folder: str) -> Callable[[Stack], float]:
    """Return a fault: the file system of a folder is full for a while."""

    def inject(stack: Stack) -> float:
        filler = stack.folder.root / folder / "filler"
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024 * 1024))
                file.flush()
        free = shutil.disk_usage(filler.parent).free
        assert free < 1024 * 1024, f"{free} bytes are left"
        time.sleep(FULL_S)
        filler.unlink()
        return time.monotonic()

    return inject


def damage_checkpoint(job: str, damage: Callable[[Path], None]) -> Callable[[Stack], float]:
    """Return a fault: the JobManager is killed, and the newest checkpoint of a job is damaged before it is back."""

    def inject(stack: Stack) -> float:
        folder = stack.folder.checkpoints / job / str(_job(stack, job).id)
        moment = _kill(stack, "jobmanager")
        time.sleep(1.5)  # The supervisor takes the checksum of a new checkpoint within a second.
        newest = newest_checkpoint(folder)
        assert newest is not None
        damage(newest / "_metadata")
        _until(lambda: _job(stack, job).refused_states, "the supervisor has refused it", timeout_s=60)
        return moment

    return inject


def damage_checkpoint_and_kill_again(job: str) -> Callable[[Stack], float]:
    """Return a fault: as `damage_checkpoint`, and the JobManager is killed again as soon as the job has been submitted anew."""

    def inject(stack: Stack) -> float:
        damage_checkpoint(job, flip)(stack)
        _until(lambda: _job(stack, job).id, "the job is submitted again", timeout_s=60)
        return _kill(stack, "jobmanager")

    return inject


def damage_shared_file(stack: Stack) -> float:
    """Cut off the largest file that the checkpoints of learn share, and kill the TaskManager: no checkpoint can be restored."""
    folder = stack.folder.checkpoints / "learn" / str(_job(stack, "learn").id) / "shared"
    with _stopped(stack.pids()["taskmanager"]):
        cut(max(folder.iterdir(), key=lambda path: path.stat().st_size))
        return _kill(stack, "taskmanager")


def damage_snapshot(damage: Callable[[Path], None]) -> Callable[[Stack], float]:
    """Return a fault: the two newest snapshots are damaged, and the TaskManager killed; it must say that it passes them over."""

    def inject(stack: Stack) -> float:
        with _stopped(stack.pids()["taskmanager"]):
            snapshots = sorted(Path(stack.settings.artifacts).rglob("*.safetensors"), key=lambda path: path.stat().st_mtime)
            # The newest may not be announced yet, and then nobody reads it.
            for snapshot in snapshots[-2:]:
                damage(snapshot)
            moment = _kill(stack, "taskmanager")
        log, name = stack.folder.log("taskmanager"), str(snapshots[-2].name)
        _until(lambda: name in log.read_text(errors="replace"), "the damaged snapshot is passed over", timeout_s=60)
        for snapshot in snapshots[-2:]:
            snapshot.unlink()
        return moment

    return inject


def cut(file: Path) -> None:
    """Cut a file in half."""
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    """Flip one bit in the middle of a file."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


def change_parallelism(stack: Stack) -> float:
    """Stop everything with savepoints, start classify with two instances, and the same back to one, as a user does."""
    folder, settings = str(stack.folder.root), stack.settings
    moment = time.monotonic()
    for instances in (2, 1):
        _millrace("down", folder, {})
        chosen = {
            "classify_parallelism": instances,
            "snapshot_interval_s": settings.snapshot_interval_s,
            "drill_folder": settings.drill_folder,
        }
        moment = time.monotonic()
        _millrace("up", folder, {f"MILLRACE_{name.upper()}": str(value) for name, value in chosen.items()})
        time.sleep(8 if instances == 2 else 0)
    return moment


def _millrace(command: str, folder: str, environment: dict[str, str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "stack", command, "--data-dir", folder], env={**os.environ, **environment}, check=True, timeout=240
    )


def stop_and_submit_learn(stack: Stack) -> float:
    """Stop learn with a savepoint, leave it away for twenty seconds, and start it again, as an upgrade does."""
    for request in ("stop", "submit"):
        answer = ask(stack.folder.requests, JobRequest(do=request, job="learn"), timeout_s=60)
        assert answer.ok, answer.message
        time.sleep(20 if request == "stop" else 0)
    return time.monotonic()


def _kill(stack: Stack, part: str) -> float:
    os.kill(stack.pids()[part], signal.SIGKILL)
    return time.monotonic()


def _job(stack: Stack, name: str) -> JobState:
    return next(job for job in stack.state().jobs if job.job == name)


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _until(condition: Callable[[], object], what: str, *, timeout_s: float = 30.0, every_s: float = 0.05) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s until {what}"
        time.sleep(every_s)


def mount_small_disk(folder: Path, *, size_mib: int) -> None:
    """Put a file system of its own, in memory, on a folder (needs the right to mount)."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)], check=True)


def unmount(folder: Path) -> None:
    """Take it away again."""
    subprocess.run(["umount", "-l", str(folder)], check=True)
