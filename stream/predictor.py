"""The operator of classify: each instance holds a replica of every task's model, fed by the broadcast model log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from pyflink.common import Row
from pyflink.datastream import BroadcastProcessFunction, RuntimeContext

from online_model.softmax import warm_up
from schemas.parsing import RejectRecord, dead_letter, parse_event, parse_log_entry
from schemas.records import Event, Position, Prediction, Served
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.traceparent import valid_traceparent
from store.beside import Beside
from store.rewind import Rewind, classified
from stream.clock import now_ms
from stream.drill import Drill
from stream.frames import TRACED, framed
from stream.interpreter import prepare_interpreter
from stream.measured import Measured
from stream.replicas import LoadReplica
from stream.rows import place
from stream.sign_of_life import SignOfLife


class Predictor(BroadcastProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Parses events and predicts; what cannot be parsed becomes a dead letter."""

    def __init__(self, settings: Settings, load: LoadReplica, rewind: Rewind | None = None) -> None:
        self._settings = settings
        self._load = load
        self._rewind = rewind

    def open(self, runtime_context: RuntimeContext) -> None:
        """Rebuild every replica from the newest snapshot and the log, before the first event."""
        settings = self._settings
        prepare_interpreter()
        warm_up()
        self._events_topic = settings.topic_prefix + Topic.EVENTS
        self._shadows_topic = settings.topic_prefix + Topic.SHADOW_PREDICTIONS
        self._predictions_topic = settings.topic_prefix + Topic.PREDICTIONS
        self._dead_letters_topic = settings.topic_prefix + Topic.DEAD_LETTERS
        self._tasks = frozenset(settings.tasks)
        self._drill = Drill(settings.drill_folder, "classify")
        loads = {task: partial(self._load, settings, task, None) for task in settings.tasks}
        self._serving = {task: Beside(load(), load) for task, load in loads.items()}
        self._classified = classified(settings, self._rewind) if self._rewind else set()
        self._measured = Measured(runtime_context)
        self._counted: Counter[str] = Counter()
        self._alive = SignOfLife(settings, "classify")

    def close(self) -> None:
        """End what is being loaded, and the signs of life."""
        if hasattr(self, "_alive"):
            self._alive.close()
        for beside in getattr(self, "_serving", {}).values():
            beside.close()

    def process_element(self, value: bytes, ctx: BroadcastProcessFunction.ReadOnlyContext) -> Iterator[bytes]:
        """Yield a frame of the predictions and dead letters for a frame of records of `events`."""
        for beside in self._serving.values():
            beside.step()
        now = now_ms()
        answers = [self._answer(record, now) for record in TRACED.rows(value)]
        self._measured.count("millrace_events", len(answers))
        for task, predictions in self._counted.items():
            self._measured.count("millrace_predictions", predictions, task=task)
        self._counted.clear()
        yield b"".join(answers)

    def _answer(self, record: list[Any], now: int) -> bytes:
        data, partition, offset, time, trace = record
        self._drill.step()
        if self._classified and (partition, offset) in self._classified:
            return b""
        at = place(partition, offset, time, now=now)
        traceparent = valid_traceparent(trace)
        try:
            event = parse_event(data, tasks=self._tasks, max_text_bytes=self._settings.max_text_bytes)
        except RejectRecord as error:
            self._measured.count("millrace_dead_letters", reason=error.reason)
            letter = dead_letter(data, topic=self._events_topic, at=at, error=error, now=now_ms())
            return framed(self._dead_letters_topic, f"{at.partition}:{at.offset}", letter, traceparent=traceparent)
        return self._predict(event, at, traceparent)

    def process_broadcast_element(self, value: Row, ctx: BroadcastProcessFunction.Context) -> None:
        """Apply one entry of the model log; entries that the replica knows are ignored."""
        entry = parse_log_entry(value[0])
        beside = self._serving.get(entry.task)
        if beside is not None:
            beside.apply(entry)

    def _predict(self, event: Event, at: Position, traceparent: str | None) -> bytes:
        replica, top = self._serving[event.task].replica, self._settings.proba_top
        served = replica.predict(event.text, top=top, event_id=event.event_id)
        self._counted[event.task] += 1
        answer = self._framed(self._predictions_topic, event, at, served, traceparent)
        return answer + b"".join(
            [
                self._framed(self._shadows_topic, event, at, shadow, traceparent)
                for shadow in replica.shadow_predictions(event.text, top=top)
            ]
        )

    def _framed(self, topic: str, event: Event, at: Position, served: Served, traceparent: str | None) -> bytes:
        prediction = Prediction(
            label=served.label,
            proba=served.proba,
            classes=served.classes,
            model=served.model,
            event_id=event.event_id,
            task=event.task,
            text=event.text,
            meta=event.meta,
            event_ts=at.time if event.ts is None else event.ts,
            predicted_at=now_ms(),
            source=at,
            traceparent=traceparent,
        )
        return framed(topic, event.event_id, prediction, task=event.task, label=served.label or "", traceparent=traceparent)
