"""The supervisor: starts the parts of a plan, keeps them and the jobs running, tells how they are, and stops them in order.

It runs in one thread. SIGTERM or SIGINT stops the jobs with savepoints, then the parts; a second one waits for no savepoint any
more, nor does SIGQUIT. If it is killed, the kernel kills the parts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import psutil
from kafka.errors import KafkaError

from stack.answers import RunningCheck
from stack.errors import AlreadyRunning, StackError
from stack.failures import StartCheck
from stack.flink_rest import FlinkRest, FlinkUnreachable, JobOverview
from stack.folders import DataFolder
from stack.jars import ensure_connector, ensure_jars
from stack.job_keeper import JobKeeper
from stack.job_place import JobPlace
from stack.jobs import JOBS, History
from stack.lock import FolderLock
from stack.mailbox import JobRequest, reply, take
from stack.parts import Parts, worker_note
from stack.plan import StackPlan, metrics_urls
from stack.resume import INHERIT_MS
from stack.state import Addresses, Condition, Phase, StackState, StateFile
from stack.submission import SubmissionClient
from stack.topics import create_topics, holds_records, is_whole

TICK_S = 0.1
JOBS_TICK_S = 1.0
_TOPICS_RETRY_S = 1.0
_REST_TIMEOUT_S = 3.0
_SAVEPOINT_NEEDS = ("jobmanager", "taskmanager", "kafka")


class Supervisor:
    """Runs one plan until it is told to stop."""

    def __init__(self, plan: StackPlan) -> None:
        self._plan = plan
        self._folder = plan.folder
        self._settings = plan.read_settings()
        self._file = StateFile(self._folder.state)
        self._rest = FlinkRest(plan.flink_rest, timeout_s=_REST_TIMEOUT_S)
        self._signals: list[int] = []
        self._pending: list[tuple[Path, str]] = []
        self._next_topics = self._next_jobs = 0.0
        self._overview: dict[str, JobOverview] | None = None
        self._jobs: dict[str, JobKeeper] = {}
        self._client: SubmissionClient | None = None
        self._own_cluster = plan.flink is None or plan.jobs_only
        me = psutil.Process(os.getpid())
        addresses = Addresses(
            kafka=self._settings.kafka,
            redis=self._settings.redis,
            flink_rest=plan.flink_rest,
            api=plan.api_url,
            metrics=metrics_urls(plan),
        )
        self._state = StackState(
            phase=Phase.STARTING, pid=me.pid, process_started=me.create_time(), since=time.time(), data_dir=plan.data_dir,
            addresses=addresses, settings=plan.settings, notes=_notes(plan),
        )  # fmt: skip

    def run(self) -> int:
        """Run until a signal comes; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda received, _: self._signals.append(received))
        self._write()
        ensure = ensure_connector if self._plan.jobs_only else ensure_jars
        parts = Parts(self._plan, ensure(self._say), topics_ready=lambda: self._state.topics_ready)
        try:
            self._run(parts)
        except StackError as error:
            self._say(str(error))
            self._state.error = str(error)
            return error.exit_code
        finally:
            self._shut_down(parts)
        return 0

    def _run(self, parts: Parts) -> None:
        for name in parts.build():
            self._say(f"{name}: in hand")
            self._tick_parts(parts)
        client = SubmissionClient(self._plan.flink_rest, self._folder.logs, {**parts.client_environment, **self._plan.settings})
        if self._plan.jobs:
            client.start()
        self._client = client
        place = self._place(client)
        self._jobs = {job: JobKeeper(job, place, now=time.time()) for job in JOBS if job in self._plan.jobs}
        while not self._signals:
            self._tick(parts)
            time.sleep(TICK_S)

    def _place(self, client: SubmissionClient) -> JobPlace:
        return JobPlace(
            rest=self._rest,
            own_cluster=self._own_cluster,
            history=History(self._folder.jobs),
            checkpoints=self._folder.checkpoints,
            savepoints=self._folder.savepoints,
            client=client,
            has_output=lambda topic: holds_records(self._settings, topic),
            is_whole=lambda topic: is_whole(self._settings, topic),
            inherit_ms=max(INHERIT_MS, self._settings.label_wait_s * 1000),
            start_check=self._answers_check,
        )

    def _answers_check(self, job: str) -> StartCheck | None:
        """Return what looks for records without an answer; publish may write again, so nothing of its can be missing."""
        return None if job == "publish" else lambda since: RunningCheck(job, since, self._plan.settings, self._folder.log("answers"))

    def _tick(self, parts: Parts) -> None:
        self._tick_parts(parts)
        now = time.time()
        if not self._state.topics_ready and parts.healthy("kafka") and now >= self._next_topics:
            self._create_topics(now)
        if now >= self._next_jobs:
            self._next_jobs = now + JOBS_TICK_S
            self._tick_jobs(parts, now)
        self._answer_requests(now)
        if self._state.phase is Phase.STARTING and self._state.topics_ready and not self._state.troubles():
            self._enter(Phase.RUNNING)
        self._write()

    def _tick_parts(self, parts: Parts) -> None:
        for keeper in parts.keepers.values():
            keeper.tick(time.time())
        self._state.parts = [keeper.state for keeper in parts.keepers.values()]
        self._write()

    def _tick_jobs(self, parts: Parts, now: float) -> None:
        self._overview = self._ask_flink() if parts.healthy("jobmanager") else None
        can_submit = self._state.topics_ready and parts.healthy("jobmanager", "kafka")
        for keeper in self._jobs.values():
            try:
                keeper.tick(now, self._overview, can_submit=can_submit)
            except OSError as error:
                # A full disk, mostly: the parts go on, and so does this, when there is room again.
                keeper.state.error = f"{type(error).__name__}: {error}"
        self._state.jobs = [keeper.state for keeper in self._jobs.values()]
        if self._client is not None:
            if self._overview is None and self._jobs and self._own_cluster:
                # Our JobManager is gone, or not here yet: its jobs will have to be submitted as soon as it answers.
                self._client.start()
            self._client.tick(now)

    def _ask_flink(self) -> dict[str, JobOverview] | None:
        try:
            return self._rest.jobs()
        except FlinkUnreachable:
            return None

    def _create_topics(self, now: float) -> None:
        try:
            created = create_topics(self._settings)
        except KafkaError as error:
            self._say(f"topics: {error}")
            self._next_topics = now + _TOPICS_RETRY_S
            return
        self._state.topics_ready = True
        if created:
            self._say(f"topics created: {', '.join(created)}")

    def _answer_requests(self, now: float) -> None:
        for target, request in take(self._folder.requests):
            keeper = self._jobs.get(request.job)
            if keeper is None:
                reply(target, ok=False, message=f"This stack does not run {request.job}.")
            elif request.do == "stop":
                keeper.stop(now, savepoint=True, timeout_s=self._settings.shutdown_timeout_s)
                self._pending.append((target, request.job))
            else:
                self._submit(target, request, keeper, now)
        waiting = self._pending
        self._pending = [(target, job) for target, job in waiting if self._jobs[job].state.state is Condition.STOPPING]
        for target, job in waiting:
            if self._jobs[job].state.state is not Condition.STOPPING:
                error = self._jobs[job].state.error
                reply(target, ok=error is None, message=error or f"{job} is stopped, with a savepoint")

    def _submit(self, target: Path, request: JobRequest, keeper: JobKeeper, now: float) -> None:
        if not keeper.idle:
            reply(target, ok=False, message=f"{request.job} is {keeper.state.state}; stop it first.")
            return
        keeper.want(now, chosen=(request.empty or request.start_from is not None, request.start_from))
        reply(target, ok=True, message=f"{request.job} will be submitted; see `millrace status`")

    def _shut_down(self, parts: Parts) -> None:
        self._enter(Phase.STOPPING)
        self._write()
        own = {keeper.part.name: keeper for keeper in parts.own()}
        if "refresh" in own:
            # Before the jobs: a refresh that began now would wait for a learner that is gone.
            own["refresh"].part.ask_to_stop()
        self._stop_jobs(parts)
        if self._client is not None:
            self._client.stop()
        # Flink's two and the API at once; then what they have written to.
        groups = [("refresh", "api", "taskmanager", "jobmanager"), ("redis",), ("kafka",)]
        for group in groups:
            members = [own[name] for name in group if name in own]
            for keeper in members:
                keeper.part.ask_to_stop()
            for keeper in members:
                keeper.part.stop()
                keeper.state.state, keeper.state.pid, keeper.state.process_started = Condition.STOPPED, None, None
                self._say(f"{keeper.part.name}: stopped")
        self._enter(Phase.STOPPED)
        self._write()

    def _stop_jobs(self, parts: Parts) -> None:
        """Stop the jobs, with savepoints if Flink runs and nobody is in a hurry."""
        first = len(self._signals)
        savepoint = bool(self._signals) and signal.SIGQUIT not in self._signals and parts.healthy("jobmanager")
        for keeper in self._jobs.values():
            keeper.stop(time.time(), savepoint=savepoint, timeout_s=self._settings.shutdown_timeout_s)
        while any(keeper.state.state is Condition.STOPPING for keeper in self._jobs.values()):
            if len(self._signals) > first or any(keeper.part.pid is None for keeper in parts.own() if keeper.part.name in _SAVEPOINT_NEEDS):
                break
            overview = self._ask_flink()
            for keeper in self._jobs.values():
                keeper.tick(time.time(), overview, can_submit=False)
            self._write()
            time.sleep(TICK_S)

    def _enter(self, phase: Phase) -> None:
        self._state.phase, self._state.since = phase, time.time()
        self._say(str(phase))

    def _write(self) -> None:
        self._file.write(self._state)

    def _say(self, message: str) -> None:
        with contextlib.suppress(OSError):
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", flush=True)


def _notes(plan: StackPlan) -> list[str]:
    note = None if plan.jobs_only else worker_note(plan)
    return [f"refresh: {note}"] if note else []


def supervise(folder: DataFolder) -> int:
    """Run the plan in a data folder until a signal comes; returns the exit code.

    Raises:
        AlreadyRunning: if another supervisor runs on it.
    """
    lock = FolderLock(folder.lock)
    lock.acquire()
    plan = msgspec.json.decode(folder.plan.read_bytes(), type=StackPlan)
    return Supervisor(plan).run()


def main(arguments: list[str] | None = None) -> int:
    """Run the supervisor on a data folder that has a plan; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stack.supervisor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    folder = DataFolder(parser.parse_args(arguments).data_dir)
    try:
        return supervise(folder)
    except AlreadyRunning as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
