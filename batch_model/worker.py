"""`python -m batch_model.worker`: refreshes by itself when the settings ask for it, one refresh at a time, and raises alerts.

It imports no torch: each refresh is a program that it starts.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from batch_model import triggers
from batch_model.alerts import Alerts
from batch_model.folder import lock_path, refresh_root
from batch_model.runs import Run
from batch_model.triggers import Due, Outcome, Rules, Seen, State
from batch_model.watching import Watching
from batch_model.worker_memory import Memory
from batch_model.worker_metrics import LOOPBACK, Metrics, MetricsServer
from schemas.manifest import Manifest
from schemas.refresh_settings import read_refresh_settings
from schemas.settings import Settings, SettingsError, read_settings
from schemas.worker_settings import WorkerSettings, read_worker_settings
from store.artifacts import ArtifactFolder
from store.connect import KafkaUnavailable
from store.file_lock import FileLock
from store.logs import log_as_json
from store.releases import ReleaseFolder

log = logging.getLogger("worker")

POLL_MS = 500
LOOK_AT_RELEASES_S = 5.0
RETRY_KAFKA_S = 1.0


def rules_of(worker: WorkerSettings) -> Rules:
    """Return the policy that the settings name."""
    return Rules(
        every_s=worker.every_s,
        labels=worker.after_labels,
        on_drift=worker.on_drift,
        fall=worker.on_fall,
        least_labels=worker.least_labels,
        pause_s=worker.pause_s,
        retry_s=worker.retry_s,
        retry_longest_s=worker.retry_longest_s,
        stale_labels_s=worker.stale_labels_s,
        stale_refresh_s=worker.stale_refresh_s,
    )


class Worker:
    """Watches all tasks. `tick` does what is due, and waits at most about half a second for news.

    Args:
        settings: of the installation.
        worker: what it does by itself.
        folder: of the refreshes.
        metrics: where it tells how things are.
        clock: the time, epoch s.
        start: starts a refresh.
    """

    def __init__(
        self,
        settings: Settings,
        worker: WorkerSettings,
        folder: Path,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
        start: Callable[..., Run] = Run,
    ) -> None:
        self._settings, self._rules, self._folder, self._metrics = settings, rules_of(worker), folder, metrics
        self._limit_s = worker.time_limit_s
        self._clock, self._start = clock, start
        self._watching = Watching(settings)
        self._releases = ReleaseFolder(ArtifactFolder(settings.artifacts))
        self._alerts = Alerts(worker.alert_url, self._told)
        self._memory = Memory(folder / "worker.json")
        known = self._memory.load()
        self._states = {task: known.get(task) or State(since=clock()) for task in settings.tasks}
        self._saved: dict[str, State] = {}
        self._next_look = 0.0
        self._is_up = True
        self._run: Run | None = None

    def tick(self) -> None:
        """Do what is due."""
        is_up = self._poll()
        now = self._clock()
        self._metrics.set("millrace_worker_up", float(is_up))
        self._end_run(now)
        if is_up and self._watching.is_ready:
            self._look(now)
        self._alerts.tick(now)
        if self._states != self._saved:
            self._memory.save(self._states)
            self._saved = dict(self._states)

    def close(self) -> None:
        """Stop the refresh that runs, if one does, and let go of the broker."""
        if self._run is not None:
            self._run.stop("the worker was stopped")
        self._watching.close()

    def _poll(self) -> bool:
        try:
            self._watching.poll(POLL_MS)
        except KafkaUnavailable as error:
            if self._is_up:
                log.warning("%s", error)
            self._is_up = False
            time.sleep(RETRY_KAFKA_S)
            return False
        if not self._is_up:
            log.info("Kafka answers again")
        self._is_up = True
        return True

    def _look(self, now: float) -> None:
        if now >= self._next_look:
            self._next_look = now + LOOK_AT_RELEASES_S
            for task in self._settings.tasks:
                self._note_releases(task, now)
        for task in self._settings.tasks:
            state = triggers.not_ahead(self._states[task], now)
            seen = self._watching.seen(task, state.cut_seq)
            state = self._states[task] = triggers.look(state, seen)
            self._alert_all(task, state, seen, now)
            self._show(task, state, seen)
            due = triggers.due(self._rules, state, seen, now=now)
            if due is not None and self._run is None and not self._is_held(task):
                self._begin(task, due, seen, now)

    def _note_releases(self, task: str, now: float) -> None:
        """Count a release that somebody else's refresh has made, by hand for instance, as a refresh."""
        # One that is stored and not in the log was refused, or not answered yet: of ours, that refresh has failed.
        came_in = self._watching.released(task)
        newest = max((one for one in self._releases.list(task) if one.line in came_in), key=_made_at, default=None)
        state = self._states[task]
        if newest is None or self._run is not None or (state.done_at is not None and _made_at(newest) <= state.done_at):
            return
        # It has also seen the labels after its cut, on which its gate has compared.
        cut = newest.origin.cut_seq + (newest.gate.labels if newest.gate else 0)
        if _made_at(newest) > now and cut <= state.cut_seq:
            return  # made by a clock that is ahead of ours, and counted before
        seen = replace(self._watching.seen(task, cut), seq=max(cut, state.cut_seq))
        log.info("task %s: release %s was made at %.0f", task, newest.line, _made_at(newest))
        self._states[task] = triggers.ended(state, "done", begun=seen, now=_made_at(newest))

    def _is_held(self, task: str) -> bool:
        """Whether a refresh of the task runs that somebody else has started."""
        return FileLock(lock_path(self._settings, task)).holder() is not None

    def _begin(self, task: str, due: Due, seen: Seen, now: float) -> None:
        log.info("task %s: a refresh begins: %s", task, due.why)
        try:
            self._run = self._start(task, due, seen, self._folder, now=now)
        except OSError as error:
            self._note(task, due, "failed", seen, f"it cannot be started: {error}", now)
            return
        self._metrics.set("millrace_refresh_running", 1, task=task)

    def _end_run(self, now: float) -> None:
        run = self._run
        if run is None:
            return
        ended = run.ended()
        if ended is None and now - run.began > self._limit_s:
            run.stop(f"it took longer than {triggers.duration(self._limit_s)}")
            ended = run.ended()
        if ended is None:
            return
        self._run = None
        self._metrics.set("millrace_refresh_running", 0, task=run.task)
        self._metrics.set("millrace_refresh_seconds", round(now - run.began, 3), task=run.task)
        self._note(run.task, run.due, ended.outcome, run.seen, ended.said, now)

    def _note(self, task: str, due: Due, outcome: Outcome, begun: Seen, said: str, now: float) -> None:
        state = self._states[task] = triggers.ended(self._states[task], outcome, begun=begun, now=now, why=said)
        self._metrics.add("millrace_refresh_runs_total", task=task, outcome=outcome, trigger=due.trigger)
        log.info("task %s: the refresh is %s: %s", task, outcome, said)
        self._alert_failure(task, state, now)

    def _alert_failure(self, task: str, state: State, now: float) -> None:
        again = f"; nothing has changed, and it is tried again in {triggers.duration(triggers.retry_at(self._rules, state) - now)}"
        self._alerts.set("refresh_failed", task, f"{state.reason}{again}" if state.failures else None, now=now)

    def _alert_all(self, task: str, state: State, seen: Seen, now: float) -> None:
        # From the state, and so also after a restart, and when a refresh by hand has done what one of ours could not.
        self._alert_failure(task, state, now)
        found = {one.kind: one.why for one in triggers.stale(self._rules, state, seen, now=now)}
        self._alerts.set("labels_stale", task, found.get("labels_stale"), now=now)
        self._alerts.set("refresh_stale", task, found.get("refresh_stale"), now=now)

    def _show(self, task: str, state: State, seen: Seen) -> None:
        show = self._metrics.set
        show("millrace_refresh_running", float(self._run is not None and self._run.task == task), task=task)
        show("millrace_refresh_last_done_timestamp_seconds", state.done_at, task=task)
        show("millrace_refresh_failures_in_a_row", state.failures, task=task)
        show("millrace_refresh_new_labels", seen.new_labels, task=task)
        show("millrace_last_label_timestamp_seconds", seen.last_label_at, task=task)
        show("millrace_window_accuracy", seen.window, task=task)
        show("millrace_drift_alarms_total", seen.alarms, task=task)
        for kind in ("refresh_failed", "labels_stale", "refresh_stale"):
            show("millrace_alert", float((kind, task) in self._alerts.is_raised), task=task, alert=kind)

    def _told(self, task: str, outcome: str) -> None:
        self._metrics.add("millrace_alerts_sent_total", task=task, outcome=outcome)


def _made_at(manifest: Manifest) -> float:
    return manifest.created_at / 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m batch_model.worker", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--host", default=LOOPBACK, help="address of the metrics, which anybody who reaches it may read (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=0, help="port of the metrics (default: any free one)")
    options = parser.parse_args(arguments)
    try:
        settings, worker, refresh = read_settings(os.environ), read_worker_settings(os.environ), read_refresh_settings(os.environ)
        log_as_json(settings.application)
        folder = refresh_root(settings, refresh)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = Metrics()
        server = MetricsServer(metrics, options.port, options.host)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    log.info("metrics at http://%s:%d/metrics", options.host, server.port)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    one = Worker(settings, worker, folder, metrics)
    try:
        while not stopped:
            one.tick()
    finally:
        one.close()
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
