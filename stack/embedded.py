"""A stack as an object: `millrace up` and `down`, the demo and the tests use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from schemas.settings import Settings, read_settings
from stack.errors import AlreadyRunning, NotRunning, PartFailed
from stack.folders import write_atomically
from stack.jars import ensure_jars
from stack.jobs import JOBS
from stack.lock import FolderLock
from stack.plan import Wish, make_plan
from stack.process import is_running, tail_lines
from stack.state import Condition, Phase, StackState, read_state
from store.programs import dying_with_parent

START_TIMEOUT_S = 300.0
POLL_S = 0.2
_QUIET_S = 5.0
_STOP_MARGIN_S = 60.0

Progress = Callable[[str], None]


class Stack:
    """One stack on one data folder.

    Args:
        data_dir: the data folder; None for the default.
        settings_overrides: fields of `Settings`, over the environment's MILLRACE_*.
        ports: ports by name (kafka, kafka_controller, redis, flink_rest, flink_rpc, flink_blob, api); 0: any free one.
        java: None for the packaged JDK 17, else a Java home.
        kafka: bootstrap servers of a running Kafka.
        redis: URL of a running Redis.
        flink: `host:port` of a running JobManager.
        jobs: which jobs run.
        attached: whether the stack ends (cleanly) when the thread that starts it does.
        environment: where the settings are read.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        settings_overrides: Mapping[str, object] | None = None,
        ports: Mapping[str, int] | None = None,
        *,
        java: str | None = None,
        kafka: str | None = None,
        redis: str | None = None,
        flink: str | None = None,
        jobs: tuple[str, ...] = JOBS,
        attached: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._wish = Wish(
            data_dir=data_dir, settings=settings_overrides or {}, ports=ports or {}, java=java, kafka=kafka, redis=redis, flink=flink,
            jobs=jobs, environment=os.environ if environment is None else environment,
        )  # fmt: skip
        self._attached = attached
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = self._wish.folder

    def start(self, progress: Progress = lambda _: None, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start everything and wait until all parts and jobs are healthy.

        Raises:
            ConfigurationErrors: if something that was given is wrong; nothing was started.
            AlreadyRunning: if a stack runs on the data folder.
            PartFailed: if a part or a job does not come up; the rest is stopped.
            StateMissing: never; a job that is refused shows in `state()` and as a progress line, the others run.
        """
        self.refuse_if_running()
        plan = make_plan(self._wish)
        ensure_jars(progress)
        write_atomically(self.folder.plan, msgspec.json.format(msgspec.json.encode(plan), indent=1), private=True)
        self._spawn()
        try:
            self._await_healthy(progress, timeout_s)
        except BaseException:
            self.stop(savepoint=False)
            raise

    def stop(self, progress: Progress = lambda _: None, *, savepoint: bool = True) -> None:
        """Stop everything, the jobs with savepoints unless told otherwise; does nothing if nothing runs."""
        state = self.running()
        pid = self._process.pid if self._process is not None and self._process.poll() is None else state.pid if state else None
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM if savepoint else signal.SIGQUIT)
        self._await_end(progress, pid, state)

    def running(self) -> StackState | None:
        """The state of the stack that runs on the data folder, or None."""
        state = read_state(self.folder.state)
        return state if state is not None and state.supervisor_runs() else None

    def state(self) -> StackState:
        """The state of the running stack.

        Raises:
            NotRunning: if none runs.
        """
        state = self.running()
        if state is None:
            raise NotRunning(f"No stack runs on {self.folder.root}. Start it with `millrace up`.")
        return state

    @property
    def settings(self) -> Settings:
        """The settings with which other programs join the running stack."""
        return read_settings(self.state().settings)

    @property
    def addresses(self) -> dict[str, str]:
        """Where the parts are: kafka (bootstrap servers), redis (URL), flink_rest (host:port), flink (URL), api (URL)."""
        at = self.state().addresses
        return {"kafka": at.kafka, "redis": at.redis, "flink_rest": at.flink_rest, "api": at.api, "flink": f"http://{at.flink_rest}"}

    def pids(self) -> dict[str, int]:
        """The process ids of the parts that run, and of the supervisor."""
        state = self.state()
        return {"supervisor": state.pid, **{part.name: part.pid for part in state.parts if part.pid is not None}}

    def refuse_if_running(self) -> None:
        """Check that the data folder is free.

        Raises:
            AlreadyRunning: if a stack runs on it; the message says where.
        """
        state = self.running()
        if state is None and not FolderLock(self.folder.lock).is_held():
            return
        where = f" (supervisor {state.pid}, API {state.addresses.api}, Flink http://{state.addresses.flink_rest})" if state else ""
        raise AlreadyRunning(
            f"A stack runs already on {self.folder.root}{where}. Stop it with `millrace down`, or choose another folder with --data-dir."
        )

    def _spawn(self) -> None:
        packages = str(Path(__file__).parent.parent)
        paths = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
        self.folder.state.unlink(missing_ok=True)
        command = [sys.executable, "-m", "stack.supervisor", str(self.folder.root)]
        with self.folder.log("supervisor").open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_parent(command, signal.SIGTERM) if self._attached else command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "PYTHONPATH": paths},
                # Its own session: Ctrl-C goes to whoever started it, who then stops it in order.
                start_new_session=True,
            )

    def _await_healthy(self, progress: Progress, timeout_s: float) -> None:
        teller = _Teller(progress)
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.running()
            if state is not None:
                teller.tell(state)
                if _settled(state):
                    return
                _raise_if_failed(state, self.folder.logs)
            if self._process is not None and self._process.poll() is not None:
                lines = tail_lines(self.folder.log("supervisor"))
                raise PartFailed(
                    f"The supervisor ended: {lines[-1] if lines else 'nothing in its log'} (log: {self.folder.log('supervisor')})"
                )
            if time.monotonic() > deadline:
                raise PartFailed(f"Not healthy within {timeout_s:.0f} s: {'; '.join(state.troubles()) if state else 'no state'}")
            time.sleep(POLL_S)

    def _await_end(self, progress: Progress, pid: int, state: StackState | None) -> None:
        teller = _Teller(progress, state)
        limit = read_settings(state.settings).shutdown_timeout_s + _STOP_MARGIN_S if state else _STOP_MARGIN_S
        deadline = time.monotonic() + limit
        while self._alive(pid, state):
            current = read_state(self.folder.state)
            if current is not None and current.pid == pid:
                teller.tell(current)
            if time.monotonic() > deadline:
                # The kernel takes the parts with it.
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        final = read_state(self.folder.state)
        if final is not None and final.pid == pid:
            teller.tell(final)

    def _alive(self, pid: int, state: StackState | None) -> bool:
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        return state is not None and is_running(pid, state.process_started)


def _settled(state: StackState) -> bool:
    """Whether everything is up, but for jobs that are refused: those wait for the user."""
    refused = sum(job.state is Condition.REFUSED for job in state.jobs)
    parts_up = bool(state.parts) and all(part.state is Condition.HEALTHY for part in state.parts)
    jobs_up = all(job.state in (Condition.HEALTHY, Condition.REFUSED) for job in state.jobs)
    return state.phase is Phase.RUNNING or (state.topics_ready and parts_up and jobs_up and refused > 0)


def _raise_if_failed(state: StackState, logs: Path) -> None:
    failed = [(part.name, part.error) for part in state.parts if part.state is Condition.FAILED]
    failed += [(f"job {job.job}", job.error) for job in state.jobs if job.state is Condition.FAILED]
    if failed or state.error:
        lines = [state.error] if state.error else [f"{name} does not start: {error}" for name, error in failed]
        raise PartFailed("\n".join([*lines, f"The logs are in {logs}."]))


def _conditions(state: StackState) -> dict[str, Condition]:
    return {**{part.name: part.state for part in state.parts}, **{f"job {job.job}": job.state for job in state.jobs}}


class _Teller:
    """Says what has changed, and, when nothing does for some seconds, what is waited for."""

    def __init__(self, progress: Progress, known: StackState | None = None) -> None:
        self._progress = progress
        self._started = self._spoken = time.monotonic()
        self._known = _conditions(known) if known else {}

    def tell(self, state: StackState) -> None:
        current = _conditions(state)
        errors = {**{part.name: part.error for part in state.parts}, **{f"job {job.job}": job.error for job in state.jobs}}
        for name, condition in current.items():
            if self._known.get(name) is not condition and condition is not Condition.WAITING:
                bad = condition in (Condition.FAILED, Condition.REFUSED, Condition.RESTARTING)
                self._say(f"{name}: {condition}" + (f" ({errors[name]})" if bad and errors[name] else ""))
        self._known = current
        if time.monotonic() - self._spoken > _QUIET_S:
            open_ones = [name for name, condition in current.items() if condition not in (Condition.HEALTHY, Condition.STOPPED)]
            self._say(f"waiting for {', '.join(open_ones) or 'the supervisor'}")

    def _say(self, message: str) -> None:
        self._spoken = time.monotonic()
        self._progress(f"{self._spoken - self._started:5.1f} s  {message}")
