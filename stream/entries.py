"""What the learner writes: the log entry and the state of a label, alarms, quality."""

from __future__ import annotations

from online_model.ledger import Decision
from online_model.prequential import score, scored
from online_model.replica import Replica
from schemas.log import LabelEntry
from schemas.records import Alarm, LabelState, ModelVersion, Prediction, Quality, Served


def label_entry(replica: Replica, decision: Decision, now: int) -> LabelEntry:
    """Return the next entry of the log: a label to learn.

    Raises:
        ValueError: if the label has no text.
    """
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


def label_state(decision: Decision, now: int, entry: LabelEntry | None = None) -> LabelState:
    """Return the label's new state; `entry` is the one that teaches it, if one does."""
    feedback = decision.incoming.feedback
    asked = entry.served if entry else None
    counted = scored(entry) if entry else None
    return LabelState(
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


def alarm_of(replica: Replica, entry: LabelEntry) -> Alarm | None:
    """Return the alarm that the entry has just raised, if it has."""
    raised = replica.drift.raised_at(entry.seq)
    if raised is None:
        return None
    return Alarm(task=replica.task, time=entry.time, model=ModelVersion(line=replica.line, seq=entry.seq), drift=raised)


def quality_of(replica: Replica, now: int) -> Quality:
    """Return how well the task's predictions fare, and its trials."""
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
        trials=replica.trials(),
    )
