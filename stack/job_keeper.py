"""Keeps one job running: submits it with the right state, watches it, submits it again when it is lost, stops it with a savepoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kafka.errors import KafkaError

from stack.backoff import Backoff
from stack.errors import StateMissing
from stack.failures import Failures
from stack.flink_rest import FlinkUnreachable, JobOverview
from stack.job_place import JobPlace
from stack.jobs import Submission, checkpoints_in, is_complete, local_path, newest_checkpoint, remove_old_states
from stack.resume import Start, chosen_start, resume_from, state_time
from stack.state import Condition, JobState
from stack.state_sums import forget_removed, note, problem, refuse
from stack.submission import TIMEOUT_S, Order, RunningSubmission

_ENDED_ELSEWHERE = "was stopped from outside; start it with `millrace job submit {job}`"
_RETRY_S = 0.5
_DETAILS_S = 5.0
"""Between two looks at a healthy job's checkpoints and metrics: each makes the JobManager collect them."""


@dataclass
class _Stop:
    savepoint: bool
    deadline: float
    request: str | None = None
    next_try: float = 0.0


class JobKeeper:
    """One job, its state and the policy for it; `tick` is called every second or so."""

    def __init__(self, job: str, place: JobPlace, *, now: float) -> None:
        self.job = job
        self.state = JobState(job=job, state=Condition.WAITING, since=now)
        self._place = place
        self._submission: RunningSubmission | None = None
        self._backoff = Backoff()
        self._next = now
        self._born = now
        self._stop: _Stop | None = None
        self._cleaned = False
        self._next_details = now
        self._chosen: tuple[bool, str | None] = (False, None)
        self._given_up: set[str] = set()
        self._failures = Failures(place.start_check(job))
        last = place.history.of(job)[-1:]
        self.state.id = last[0].id if last and not place.own_cluster and not last[0].savepoint else None

    @property
    def idle(self) -> bool:
        """Whether it is stopped, or was never allowed to start."""
        return self.state.state in (Condition.STOPPED, Condition.REFUSED)

    def want(self, now: float, *, chosen: tuple[bool, str | None] = (False, None)) -> None:
        """Start it (again). `chosen` is (True, state path or None for empty) if the user says what from."""
        self._chosen = chosen
        self._backoff = Backoff()
        self._next = now
        if self.idle:
            self.state.error = None
            self._become(Condition.WAITING, now)

    def stop(self, now: float, *, savepoint: bool, timeout_s: float) -> None:
        """Begin to stop it; further ticks finish that."""
        self._failures.stop()
        if self._submission is not None:
            self._submission.kill()
            self._submission = None
        if self.state.id is None:
            self._become(Condition.STOPPED, now)
            return
        self._stop = _Stop(savepoint, now + timeout_s)
        self._become(Condition.STOPPING, now)

    def tick(self, now: float, overview: Mapping[str, JobOverview] | None, *, can_submit: bool) -> None:
        """Do what is due. `overview` is None while the JobManager does not answer."""
        if self._submission is not None:
            self._await_submission(self._submission, now)
        elif self._stop is not None:
            self._go_on_stopping(self._stop, now, overview)
        elif self.idle:
            return
        elif self.state.id is None:
            if can_submit and overview is not None and now >= self._next:
                self._submit(now, overview)
        else:
            self._failures.tick(now)
            self.state.unanswered, self.state.checking = self._failures.unanswered, self._failures.checking
            self._note_newest(self.state.id)
            if overview is not None:
                self._watch(self.state.id, now, overview)

    def _submit(self, now: float, overview: Mapping[str, JobOverview]) -> None:
        running = [flink_id for flink_id, seen in overview.items() if seen.name == self.job and not seen.over]
        if being_cancelled := self._given_up.intersection(running):
            self._cancel_again(being_cancelled)
            return
        if running and self._place.own_cluster:
            self._submitted(running[0], None, None, now)
            return
        checkpoints = self._place.checkpoints / self.job
        try:
            start = self._start(checkpoints)
        except StateMissing as error:
            self.state.error = str(error)
            self._become(Condition.REFUSED, now)
            return
        except (KafkaError, OSError) as error:
            self.state.error, self._next = f"it could not be found out what the job starts from: {error}", now + 2
            return
        self.state.refused_states = start.refused
        rewind = None if start.rewound_since is None else (start.rewound_since, int(now * 1000))
        self._submission = self._place.client.submit(Order(self.job, checkpoints, start.path, rewind))
        self._born = now
        self._become(Condition.STARTING, now)

    def _start(self, checkpoints: Path) -> Start:
        """Return what to start from: what the user chose, though that may be old, else what the rule says."""
        given, path = self._chosen
        if given:
            return chosen_start(path)
        place = self._place
        return resume_from(
            self.job,
            place.history.of(self.job),
            checkpoints,
            has_output=place.has_output,
            is_whole=place.is_whole,
            inherit_ms=place.inherit_ms,
        )

    def _note_newest(self, flink_id: str) -> None:
        """Take the checksum of the newest checkpoint, so that a later start can tell whether it is what was written."""
        newest = newest_checkpoint(self._place.checkpoints / self.job / flink_id)
        if newest is not None:
            note(newest)
            forget_removed(newest.parent)

    def _await_submission(self, submission: RunningSubmission, now: float) -> None:
        if submission.running:
            if now - self._born > TIMEOUT_S:
                submission.kill()
            return
        self._submission = None
        flink_id, problem = submission.result()
        if flink_id is None:
            if submission.state_unreadable and submission.order.started_from:
                refuse(local_path(submission.order.started_from), problem)
            self._lost(problem, now)
        else:
            self._submitted(flink_id, submission.order.started_from, submission.order.rewind, now)

    def _submitted(self, flink_id: str, started_from: str | None, rewind: tuple[int, int] | None, now: float) -> None:
        place, known = self._place, self._place.history.of(self.job)
        if all(submission.id != flink_id for submission in known):
            place.history.add(Submission(job=self.job, id=flink_id, started_from=started_from, time=now, rewind=rewind))
        self.state.id, self.state.started_from = flink_id, started_from
        self.state.restarts = self.state.checkpoints_completed = self.state.checkpoints_failed = 0
        state = local_path(started_from) if started_from else None
        self._failures.new_submission(state_time(state) if state is not None and is_complete(state) else None)
        self._chosen, self._cleaned, self._born = (False, None), False, now

    def _watch(self, flink_id: str, now: float, overview: Mapping[str, JobOverview]) -> None:
        seen = overview.get(flink_id)
        if seen is None:
            self._lost("the JobManager does not know it any more", now)
            return
        if self.state.state is not Condition.HEALTHY or not seen.all_running or now >= self._next_details:
            self._next_details = now + _DETAILS_S
            self._read_details(flink_id, failing=not seen.all_running)
            if not seen.all_running and self._failures.cannot_restore:
                self._give_up(flink_id, now)
                return
        if seen.state == "FAILED":
            self._lost(self.state.error or "Flink gave it up", now)
        elif seen.over:
            self.state.id = None
            self.state.error = _ENDED_ELSEWHERE.format(job=self.job)
            self._become(Condition.STOPPED, now)
        elif seen.state == "RUNNING" and seen.all_running:
            self._failures.running(now)
            self._become(Condition.HEALTHY, now)
        elif self.state.state is not Condition.STARTING:
            self._become(Condition.RESTARTING, now)

    def _read_details(self, flink_id: str, *, failing: bool) -> None:
        rest = self._place.rest
        try:
            counts = rest.checkpoints(flink_id)
            self.state.checkpoints_completed, self.state.checkpoints_failed = int(counts["completed"]), int(counts["failed"])
            self.state.restarts = rest.restarts(flink_id) or self.state.restarts
            self._failures.commits(rest.failed_committables(flink_id), self.state.restarts)
            if failing:
                self.state.error = rest.root_cause(flink_id) or self.state.error
                self._failures.restore(rest.failed_restore(flink_id))
        except FlinkUnreachable:
            return  # It is starting or ending, and is asked again.
        except (LookupError, TypeError, ValueError) as error:
            self.state.error = f"Flink's answer is not understood: {error!r}"
            return
        if not self._cleaned and self.state.checkpoints_completed:
            self._clean(flink_id)

    def _give_up(self, flink_id: str, now: float) -> None:
        """Cancel a job whose state cannot be restored, and refuse that state, so that the one before is used."""
        reason = f"it cannot be restored: {self.state.error}"
        own = [path for path in checkpoints_in(self._place.checkpoints / self.job / flink_id) if problem(path) is None]
        state = own[0] if own else local_path(self.state.started_from) if self.state.started_from else None
        if state is not None:
            refuse(state, reason)
        self._given_up.add(flink_id)
        self._cancel_again({flink_id})
        self._lost(reason, now)

    def _cancel_again(self, flink_ids: Iterable[str]) -> None:
        for flink_id in flink_ids:
            with contextlib.suppress(FlinkUnreachable):
                self._place.rest.cancel(flink_id)

    def _clean(self, flink_id: str) -> None:
        checkpoints = self._place.checkpoints / self.job
        if newest_checkpoint(checkpoints / flink_id) is not None:
            remove_old_states(self._place.history.of(self.job), checkpoints, self._place.savepoints / self.job)
            self._cleaned = True

    def _lost(self, problem: str, now: float) -> None:
        self.state.id = None
        self.state.error = problem
        self.state.resubmissions += 1
        self._next = now + self._backoff.died(lived_s=now - self._born)
        self._become(Condition.FAILED if self._backoff.reported else Condition.RESTARTING, now)

    def _go_on_stopping(self, stop: _Stop, now: float, overview: Mapping[str, JobOverview] | None) -> None:
        flink_id = self.state.id
        seen = overview.get(flink_id) if overview is not None and flink_id else None
        if flink_id is None or (overview is not None and (seen is None or (seen.over and stop.request is None))):
            self._stopped("ended without a savepoint; it resumes from its newest checkpoint", now)
        elif not stop.savepoint or now > stop.deadline:
            self._cancel(flink_id, now, in_time=not stop.savepoint)
        elif now >= stop.next_try:
            stop.next_try = now + _RETRY_S
            self._advance(stop, flink_id, now)

    def _advance(self, stop: _Stop, flink_id: str, now: float) -> None:
        try:
            if stop.request is None:
                folder = self._place.savepoints / self.job
                folder.mkdir(parents=True, exist_ok=True)
                stop.request = self._place.rest.stop_with_savepoint(flink_id, folder.as_uri())
                return
            path, problem = self._place.rest.savepoint(flink_id, stop.request)
        except FlinkUnreachable as error:
            self.state.error = str(error)
            return
        if path is not None:
            self._place.history.ended(flink_id, path)
            note(local_path(path))
            self._stopped(None, now)
        elif problem is not None:
            self.state.error, stop.request = f"savepoint failed: {problem}", None

    def _cancel(self, flink_id: str, now: float, *, in_time: bool) -> None:
        try:
            self._place.rest.cancel(flink_id)
        except FlinkUnreachable as error:
            self.state.error = str(error)
        self._stopped(None if in_time else "no savepoint in time; it resumes from its newest checkpoint", now)

    def _stopped(self, remark: str | None, now: float) -> None:
        self._stop, self.state.id = None, None
        self.state.error = remark
        self._become(Condition.STOPPED, now)

    def _become(self, condition: Condition, now: float) -> None:
        if condition is not self.state.state:
            self.state.state = condition
            self.state.since = now
