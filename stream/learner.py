"""The operator of learn: one sequencer a task, which numbers labels, scores, learns and writes snapshots."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import msgspec
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from online_model import drift
from online_model.ledger import Decision
from online_model.prequential import score, scored
from online_model.replica import Replica
from online_model.softmax import warm_up
from schemas.log import LabelEntry, SnapshotEntry
from schemas.records import Alarm, LabelState, ModelVersion, Prediction, Quality, Served, State
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.rewind import Rewind, decided
from stream.clock import now_ms
from stream.frames import Frames, framed
from stream.interpreter import prepare_interpreter
from stream.replicas import LoadReplica
from stream.snapshotter import Snapshotter

log = logging.getLogger(__name__)

QUALITY_INTERVAL_MS = 500
_LOG_WAIT_S = 90

DECISIONS = Frames("ss")
"""Task, and an encoded `online_model.ledger.Decision`."""

_decision = msgspec.json.Decoder(Decision)


class LogMismatch(Exception):
    """The committed log and the job's state disagree: an operator must start the job from its newest checkpoint."""


class Learner(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Gives each label to be learned its seq and applies it to the task's replica; keyed by task.

    The Flink state is the seq alone; the replicas are rebuilt from snapshot and log when the operator is opened.
    """

    def __init__(self, settings: Settings, load: LoadReplica, rewind: Rewind | None = None) -> None:
        self._settings = settings
        self._load_replica = load
        self._rewind = rewind

    def open(self, runtime_context: RuntimeContext) -> None:
        """Name the state, and rebuild the replicas; whether they stand where the state does shows with the first element, in its key."""
        prepare_interpreter()
        warm_up()
        drift.warm_up()
        prefix = self._settings.topic_prefix
        self._log_topic = prefix + Topic.MODEL_LOG
        self._states_topic = prefix + Topic.LABEL_STATES
        self._quality_topic = prefix + Topic.QUALITY
        self._alarms_topic = prefix + Topic.ALARMS
        self._seq = runtime_context.get_state(ValueStateDescriptor("seq", Types.LONG()))
        self._loaded = {task: self._load_replica(self._settings, task, None) for task in self._settings.tasks}
        self._decided = decided(self._settings, self._rewind) if self._rewind else {}
        self._replicas: dict[str, Replica] = {}
        self._snapshotters: dict[str, Snapshotter] = {}
        self._ticking: set[str] = set()
        self._told: dict[str, int] = {}

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Take a frame of decisions of the ledger: yield a frame of label states and, for labels to learn, their entries in the log."""
        task = ctx.get_current_key()
        if self._rewind is not None:
            # Also where nothing is new: the state must come to where the log is, or the next start finds it behind.
            self._replica(task)
        yield b"".join([answer for _, decision in DECISIONS.rows(value) for answer in self._decide(task, _decision.decode(decision), ctx)])

    def _decide(self, task: str, decided: Decision, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        decision = self._news(decided)
        if decision is None:
            return
        if decision.text is None:
            yield self._framed_state(decision, now_ms())
            return
        replica = self._replica(task)
        yield from self._learn(replica, decision)
        if task not in self._ticking:
            self._ticking.add(task)
            timers = ctx.timer_service()
            timers.register_processing_time_timer(timers.current_processing_time() + QUALITY_INTERVAL_MS)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[bytes]:
        """Publish the quality since the last tick, and the snapshot that has fallen due while no label came."""
        task = ctx.get_current_key()
        replica = self._replica(task)
        now = now_ms()
        if self._told.get(task) != replica.updated_at:
            self._told[task] = replica.updated_at
            yield framed(self._quality_topic, task, _quality(replica, now), task=task)
        yield from self._snapshot(replica, now)
        if self._snapshotters[task].pending:
            ctx.timer_service().register_processing_time_timer(timestamp + QUALITY_INTERVAL_MS)
        else:
            self._ticking.discard(task)

    def _news(self, decision: Decision) -> Decision | None:
        """Return the decision as it follows on what is committed; None if that, or a later state of the label, is."""
        at = decision.incoming.at
        committed = self._decided.get((at.partition, at.offset))
        if committed is None:
            return decision
        if committed is not State.WAITING or decision.state is State.WAITING:
            return None
        return msgspec.structs.replace(decision, previous=State.WAITING)

    def _learn(self, replica: Replica, decision: Decision) -> Iterator[bytes]:
        now = now_ms()
        entry = _entry(replica, decision, now)
        replica.apply(entry)
        self._seq.update(entry.seq)
        self._snapshotters[replica.task].learned()
        yield framed(self._log_topic, entry.task, entry, task=entry.task)
        yield self._framed_state(decision, now, entry)
        if (alarm := _alarm(replica, entry)) is not None:
            log.warning("task %s: drift alarm %d: %s", alarm.task, alarm.drift.number, drift.describe(alarm.drift))
            yield framed(self._alarms_topic, alarm.task, alarm, task=alarm.task)
        yield from self._snapshot(replica, now)

    def _snapshot(self, replica: Replica, now: int) -> Iterator[bytes]:
        """Write a snapshot if one is due, and announce it in the log: it counts once that is committed."""
        snapshotter = self._snapshotters[replica.task]
        if not snapshotter.due(now):
            return
        entry: SnapshotEntry = snapshotter.write(replica, now)
        replica.apply(entry)
        self._seq.update(entry.seq)
        yield framed(self._log_topic, entry.task, entry, task=entry.task)

    def _framed_state(self, decision: Decision, now: int, entry: LabelEntry | None = None) -> bytes:
        feedback = decision.incoming.feedback
        asked = entry.served if entry else None
        counted = scored(entry) if entry else None
        state = LabelState(
            event_id=feedback.event_id,
            task=feedback.task,
            state=decision.state,
            previous=decision.previous,
            feedback=decision.incoming.ref,
            label=feedback.label,
            seq=entry.seq if entry else None,
            served=asked.label if asked else None,
            score=score(feedback.label, counted) if counted else None,
            time=now,
        )
        return framed(self._states_topic, feedback.event_id, state, task=feedback.task, label=decision.state)

    def _replica(self, task: str) -> Replica:
        """Return the task's replica, at the seq of the state."""
        if task not in self._replicas:
            # A task that is not configured any more may still have labels that wait.
            loaded = self._loaded.pop(task, None)
            replica = self._checked(self._load_replica(self._settings, task, None) if loaded is None else loaded)
            self._snapshotters[task] = Snapshotter(self._settings, ArtifactFolder(self._settings.artifacts), replica, now_ms())
            self._replicas[task] = replica
        return self._replicas[task]

    def _checked(self, replica: Replica) -> Replica:
        """Return the replica when it has reached the seq of the state.

        After a crash the sink commits the last checkpoint's entries while this operator starts, so they are waited for.

        Raises:
            LogMismatch: if the log goes beyond the state, or never reaches it.
        """
        task, seq = replica.task, self._seq.value() or 0
        deadline = time.monotonic() + _LOG_WAIT_S
        while replica.seq < seq:
            if time.monotonic() > deadline:
                raise LogMismatch(
                    f"task {task}: the model log ends at {replica.seq}, the state of learn stands at {seq}: entries were lost"
                )
            time.sleep(0.2)
            replica = self._load_replica(self._settings, task, replica)
        if replica.seq > seq and self._rewind is not None:
            log.info("task %s: started from an old state at seq %d; the log has gone on to %d", task, seq, replica.seq)
            self._seq.update(replica.seq)
        elif replica.seq > seq:
            raise LogMismatch(
                f"task {task}: the model log holds {replica.seq} entries, the state of learn only {seq}: "
                "learn was started from an old checkpoint or none; start it from its newest one"
            )
        log.info("task %s: replica at seq %d", task, replica.seq)
        return replica


def _entry(replica: Replica, decision: Decision, now: int) -> LabelEntry:
    prediction, incoming, text = decision.prediction, decision.incoming, decision.text
    if text is None:
        raise ValueError("a label without a text cannot be learned")
    return LabelEntry(
        seq=replica.seq + 1,
        task=replica.task,
        time=now,
        event_id=incoming.feedback.event_id,
        text=text,
        meta=prediction.meta if prediction else {},
        label=incoming.feedback.label,
        weight=incoming.feedback.weight,
        served=_served(prediction),
        feedback=incoming.ref,
        corrects=decision.corrects,
    )


def _served(prediction: Prediction | None) -> Served | None:
    if prediction is None:
        return None
    return Served(label=prediction.label, proba=prediction.proba, classes=prediction.classes, model=prediction.model)


def _alarm(replica: Replica, entry: LabelEntry) -> Alarm | None:
    """Return the alarm that the entry has just raised, if it has."""
    raised = replica.drift.raised_at(entry.seq)
    if raised is None:
        return None
    return Alarm(task=replica.task, time=entry.time, model=ModelVersion(line=replica.line, seq=entry.seq), drift=raised)


def _quality(replica: Replica, now: int) -> Quality:
    return Quality(
        task=replica.task,
        time=now,
        model=ModelVersion(line=replica.line, seq=replica.seq),
        model_time=replica.updated_at,
        overall=replica.quality.overall(),
        window=replica.quality.scores_window(),
        window_size=replica.quality.window,
        alarms=replica.drift.alarms,
        last_alarm=replica.drift.last,
    )
