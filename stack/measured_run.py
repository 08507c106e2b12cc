"""A replay that is observed from outside, waited for, and reported on: what `millrace replay --report` and `millrace demo` share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from schemas.records import State
from schemas.settings import Settings
from schemas.topics import Topic
from stack.label_reference import Rules
from stack.observation import Observation
from stack.report import Report, make_report
from stack.report_topics import Run
from stack.sampling import Sampler, StackProbe
from stack.schedule import Plan
from stack.sender import Replay, Sent
from stack.watch import Status, Watch
from store.labelled_files import BadLine, Row

PATIENCE_S = 60.0
OUTAGE_S = 600.0
"""Patience while Kafka or Redis does not answer."""
_TICK_S = 0.2


class Moment(msgspec.Struct, frozen=True):
    """What is known at one moment of a run."""

    sent: Sent
    status: Status
    seconds: float


Watcher = Callable[[Moment], None]


def unfinished(sent: Sent, status: Status) -> list[str]:
    """Return in words what is still missing; nothing if the run is complete.

    >>> unfinished(Sent(run_id="r", started=0, events=2, labels=0), Status(predictions=1, records=1, visible=1))
    ['1 of 2 events have no prediction yet']
    """
    dead_events, dead_labels = (status.dead_letters.get(t, 0) for t in (Topic.EVENTS, Topic.FEEDBACK))
    final = sum(count for state, count in status.states.items() if state != State.WAITING)
    rejected_apart = max(0, dead_labels - status.states.get(State.REJECTED, 0))
    records = sent.events + sent.repeated
    missing = {
        "events have no prediction yet": (records - dead_events - status.records, records),
        "labels are in no final state yet": (sent.labels - final - rejected_apart, sent.labels),
        "predictions are not in Redis yet": (status.predictions - status.visible, status.predictions),
    }
    return [f"{count} of {total} {what}" for what, (count, total) in missing.items() if count > 0]


class Patience:
    """Gives up when nothing has changed for a while; the time is an argument.

    >>> patience = Patience(60.0, now=0.0)
    >>> patience.exhausted("a", now=59.0), patience.exhausted("b", now=70.0), patience.exhausted("b", now=131.0)
    (False, False, True)
    """

    def __init__(self, seconds: float, *, now: float) -> None:
        self._seconds = seconds
        self._since = now
        self._last: object = None

    def exhausted(self, progress: object, *, now: float) -> bool:
        """Return whether `progress` has been the same for too long."""
        if progress != self._last:
            self._last, self._since = progress, now
        return now - self._since > self._seconds


class MeasuredRun:
    """One run. `stop` ends sending and waiting; then there is no report."""

    def __init__(self, *, settings: Settings, plan: Plan, dataset: str, probe: StackProbe | None, ledger: Path | None = None) -> None:
        self._settings = settings
        self._dataset = dataset
        self._probe = probe
        self.replay = Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=plan, ledger=ledger)
        self.stop = self.replay.stop

    def run(
        self,
        rows: Iterable[Row | BadLine],
        *,
        on_moment: Watcher,
        on_skip: Callable[[BadLine], None],
        stay: bool = False,
    ) -> Report | None:
        """Send, watch, wait until all has come through, and return the report; None if stopped before.

        Args:
            rows: what to send.
            on_moment: called a few times a second.
            on_skip: called for each line that is skipped.
            stay: when all has come through, go on watching until `stop` is set; then there is no report.

        Raises:
            KafkaUnavailable, RedisUnavailable, DeliveryError, LedgerError, SourceError: whoever is named must act.
        """
        with Observation(self._watch()) as observation, Sampler(self._probe) as sampler:
            self._send(rows, observation, on_moment, on_skip)
            missing = self._wait(observation, on_moment, stay=stay)
            finished = time.time()
            if self.stop.is_set():
                return None
            sampler.sample()
            observed = observation.finish()
            run = self._facts(observation.status, sampler, missing, finished)
        return make_report(run, observed)

    def _watch(self) -> Watch:
        s = self._settings
        return Watch(
            kafka=s.kafka,
            redis=s.redis,
            topic_prefix=s.topic_prefix,
            task=self.replay.plan.task,
            run_id=self.replay.sent.run_id,
            recent=s.recent_predictions,
            out="",
        )

    def _facts(self, status: Status, sampler: Sampler, missing: list[str], finished: float) -> Run:
        s, sent = self._settings, self.replay.sent
        return Run(
            kafka=s.kafka,
            redis=s.redis,
            topic_prefix=s.topic_prefix,
            recent=s.recent_predictions,
            rules=Rules(label_wait_ms=s.label_wait_s * 1000, event_known_ms=s.event_known_s * 1000),
            dataset=self._dataset,
            task=self.replay.plan.task,
            run_id=sent.run_id,
            ends=status.ends,
            started=sent.started,
            finished=finished,
            events_sent=sent.events,
            events_records_sent=sent.events + sent.repeated,
            labels_sent=sent.labels,
            lines_skipped=sent.skipped,
            unfinished=missing,
            restarts=sampler.restarts,
            peak_rss_mib=sampler.peak_rss_mib,
        )

    def _moment(self, observation: Observation) -> Moment:
        sent = self.replay.sent
        # The sender sets the start when it sends; before that the run has not begun.
        return Moment(sent, observation.status, time.time() - sent.started if sent.events else 0.0)

    def _send(
        self, rows: Iterable[Row | BadLine], observation: Observation, on_moment: Watcher, on_skip: Callable[[BadLine], None]
    ) -> None:
        """Send from a thread of its own, so that what is shown cannot hold up what is sent."""
        failures: list[Exception] = []

        def send() -> None:
            try:
                self.replay.send(rows, on_skip=on_skip)
            except Exception as error:  # noqa: BLE001  # it is raised again below, in the caller's thread
                failures.append(error)

        sender = threading.Thread(target=send, name="sender", daemon=True)
        sender.start()
        while sender.is_alive():
            sender.join(_TICK_S)
            on_moment(self._moment(observation))
        if failures:
            raise failures[0]

    def _wait(self, observation: Observation, on_moment: Watcher, *, stay: bool) -> list[str]:
        patience, outage = (Patience(seconds, now=time.monotonic()) for seconds in (PATIENCE_S, OUTAGE_S))
        seen = 0
        while True:
            status, sent = observation.status, self.replay.sent
            missing = unfinished(sent, status)
            seen += not missing  # twice, because a status may be older than the last record sent
            now = time.monotonic()
            progress = (status.records, status.visible, tuple(sorted(status.states.items())))
            # While a server is away, patience begins anew with each look; the other one does not.
            given_up = patience.exhausted((progress, now if status.away else None), now=now)
            given_up = given_up or outage.exhausted(progress, now=now) or not observation.alive
            if not stay and (seen > 1 or given_up):
                return missing
            if self.stop.wait(_TICK_S):
                return missing
            on_moment(self._moment(observation))
