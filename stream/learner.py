"""The operator of learn: one sequencer a task, which numbers labels and changes, scores, learns and writes snapshots."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

import msgspec
from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor

from online_model import drift
from online_model.ledger import Decision
from online_model.replica import Replica
from online_model.softmax import warm_up
from schemas.log import LabelEntry, RefusalEntry, VerdictEntry
from schemas.parsing import encode
from schemas.records import State
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.rewind import Rewind, answered, decided
from stream.changes import BuildLine, Change, Changes
from stream.clock import now_ms
from stream.commands import Asked
from stream.entries import alarm_of, entry_for, label_state, quality_of
from stream.frames import Frames, framed
from stream.interpreter import prepare_interpreter
from stream.measured import Measured
from stream.replicas import LoadReplica
from stream.sign_of_life import SignOfLife
from stream.snapshotter import Snapshotter

log = logging.getLogger(__name__)

QUALITY_INTERVAL_MS = 500
ANSWER_INTERVAL_MS = 50
"""So often a command that waits for its line is looked at while no label comes."""
_LOG_WAIT_S = 90

GIVEN = Frames("ss")
"""Task, and an encoded `online_model.ledger.Decision` or `stream.commands.Asked`."""

_given: msgspec.json.Decoder[Decision | Asked] = msgspec.json.Decoder(Decision | Asked)
_asked = msgspec.json.Decoder(Asked)


class LogMismatch(Exception):
    """The committed log and the job's state disagree: an operator must start the job from its newest checkpoint."""


class Learner(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Gives each label to be learned, verdict to be scored, and change its seq and applies it to the task's replica; keyed by task.

    The Flink state is the seq and the commands that wait; the replicas are rebuilt from snapshot and log when the operator is opened.
    """

    def __init__(self, settings: Settings, load: LoadReplica, build: BuildLine, rewind: Rewind | None = None) -> None:
        self._settings = settings
        self._load_replica = load
        self._build_line = build
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
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("commands", Types.PICKLED_BYTE_ARRAY()))
        self._loaded = {task: self._load_replica(self._settings, task, None) for task in self._settings.tasks}
        self._decided = decided(self._settings, self._rewind) if self._rewind else {}
        self._answered = answered(self._settings, self._rewind) if self._rewind else set()
        self._replicas: dict[str, Replica] = {}
        self._changes: dict[str, Changes] = {}
        self._snapshotters: dict[str, Snapshotter] = {}
        self._ticks: dict[str, int] = {}
        self._told: dict[str, object] = {}
        self._told_at: dict[str, int] = {}
        self._measured = Measured(runtime_context)
        self._alive = SignOfLife(self._settings, "learn")

    def close(self) -> None:
        """End what is being built, and the signs of life."""
        if hasattr(self, "_alive"):
            self._alive.close()
        for changes in getattr(self, "_changes", {}).values():
            changes.close()

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[bytes]:
        """Take a frame of decisions and commands: yield a frame of label states and, for what is to be done, entries of the log."""
        task = ctx.get_current_key()
        if self._rewind is not None:
            # Also where nothing is new: the state must come to where the log is, or the next start finds it behind.
            self._replica(task)
        answers = [answer for _, given in GIVEN.rows(value) for answer in self._take(task, _given.decode(given))]
        if task in self._replicas:
            self._tick(task, ctx)
        yield b"".join(answers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[bytes]:
        """Answer commands whose lines are built, and publish quality and a snapshot that have fallen due while no label came."""
        task = ctx.get_current_key()
        replica = self._replica(task)
        if timestamp >= self._ticks.get(task, 0):
            self._ticks.pop(task, None)
        yield from self._change(replica)
        yield from self._quality(replica)
        self._tick(task, ctx)

    def _tick(self, task: str, ctx: KeyedProcessFunction.Context) -> None:
        """Have the timer called if anything is left to do, soon if a command waits."""
        replica, waits = self._replicas[task], bool(self._changes[task].asked)
        if not waits and (task in self._ticks or not (self._snapshotters[task].pending or self._told.get(task) != _shown(replica))):
            return
        timers = ctx.timer_service()
        at = timers.current_processing_time() + (ANSWER_INTERVAL_MS if waits else QUALITY_INTERVAL_MS)
        if at < self._ticks.get(task, sys.maxsize):
            self._ticks[task] = at
            timers.register_processing_time_timer(at)

    def _take(self, task: str, given: Decision | Asked) -> Iterator[bytes]:
        if isinstance(given, Asked):
            yield from self._ask(task, given)
            return
        decision = self._news(given)
        if decision is None:
            return
        if decision.text is None and not decision.denies:
            yield self._framed_state(decision, now_ms())
            return
        replica = self._replica(task)
        yield from self._absorb(replica, decision)
        yield from self._change(replica)

    def _ask(self, task: str, asked: Asked) -> Iterator[bytes]:
        """Let a command wait for its turn; it may come at once."""
        if asked.command.command_id in self._answered:
            return
        replica = self._replica(task)
        if (refused := self._changes[task].ask(replica, asked, now_ms())) is not None:
            yield self._sequenced(replica, refused)
            return
        self._waiting.add(encode(asked))
        yield from self._change(replica)

    def _news(self, decision: Decision) -> Decision | None:
        """Return the decision as it follows on what is committed; None if that, or a later state of the label, is."""
        at = decision.incoming.at
        committed = self._decided.get((at.partition, at.offset))
        if committed is None:
            return decision
        if committed is not State.WAITING or decision.state is State.WAITING:
            return None
        return msgspec.structs.replace(decision, previous=State.WAITING)

    def _absorb(self, replica: Replica, decision: Decision) -> Iterator[bytes]:
        now = now_ms()
        entry = entry_for(replica, decision, now)
        with self._measured.timed("millrace_learn_microseconds", task=replica.task):
            sequenced = self._sequenced(replica, Change(entry))
        yield sequenced
        self._snapshotters[replica.task].learned()
        yield self._framed_state(decision, now, entry)
        if (alarm := alarm_of(replica, entry)) is not None:
            self._measured.count("millrace_drift_alarms", task=alarm.task)
            log.warning("task %s: drift alarm %d: %s", alarm.task, alarm.drift.number, drift.describe(alarm.drift))
            yield framed(self._alarms_topic, alarm.task, alarm, task=alarm.task)

    def _change(self, replica: Replica) -> Iterator[bytes]:
        """Sequence the changes that are due, and write a snapshot if one is: it counts once its announcement is committed."""
        task, now = replica.task, now_ms()
        changes, snapshotter = self._changes[task], self._snapshotters[task]
        waited = len(changes.asked)
        while (change := changes.due(replica, now)) is not None:
            log.info("task %s: %s", task, change.entry)
            yield self._sequenced(replica, change)
            if not isinstance(change.entry, RefusalEntry):
                snapshotter.changed()
        if len(changes.asked) != waited:
            self._waiting.update([encode(asked) for asked in changes.asked])
        if snapshotter.due(now):
            yield self._sequenced(replica, Change(snapshotter.write(replica, now)))
            self._measured.count("millrace_snapshots", task=task)

    def _sequenced(self, replica: Replica, change: Change) -> bytes:
        """Apply an entry, and return it for the log."""
        replica.apply(change.entry, brought=change.brought)
        self._changes[replica.task].learned(change.entry)
        self._seq.update(change.entry.seq)
        self._measured.show("millrace_learner_seq", change.entry.seq, task=replica.task)
        return framed(self._log_topic, replica.task, change.entry, task=replica.task)

    def _quality(self, replica: Replica) -> Iterator[bytes]:
        """Publish the quality if it has changed, now and then."""
        task, now, shown = replica.task, now_ms(), _shown(replica)
        if self._told.get(task) == shown or now - self._told_at.get(task, 0) < QUALITY_INTERVAL_MS:
            return
        self._told[task], self._told_at[task] = shown, now
        yield framed(self._quality_topic, task, quality_of(replica, now), task=task)

    def _framed_state(self, decision: Decision, now: int, entry: LabelEntry | VerdictEntry | None = None) -> bytes:
        state = label_state(decision, now, entry)
        self._measured.count("millrace_labels", task=decision.incoming.feedback.task, state=decision.state)
        return framed(self._states_topic, decision.incoming.feedback.event_id, state, task=state.task, label=decision.state)

    def _replica(self, task: str) -> Replica:
        """Return the task's replica, at the seq of the state."""
        if task not in self._replicas:
            # A task that is not configured any more may still have labels that wait.
            loaded = self._loaded.pop(task, None)
            replica = self._checked(self._load_replica(self._settings, task, None) if loaded is None else loaded)
            self._snapshotters[task] = Snapshotter(self._settings, ArtifactFolder(self._settings.artifacts), replica, now_ms())
            self._changes[task] = Changes(self._settings, self._still_waiting(), self._build_line)
            self._replicas[task] = replica
        return self._replicas[task]

    def _still_waiting(self) -> list[Asked]:
        """Return the commands in the state; those that the log has answered since, if the state is old, leave it."""
        stored = [_asked.decode(data) for data in self._waiting.get() or ()]
        waiting = [asked for asked in stored if asked.command.command_id not in self._answered]
        if len(waiting) != len(stored):
            self._waiting.update([encode(asked) for asked in waiting])
        return waiting

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


def _shown(replica: Replica) -> object:
    """Return what must have changed for the quality to be published again."""
    return replica.updated_at, replica.quality.labels, replica.line, [(trial.line, trial.role) for trial in replica.trials()]
