"""What the learner writes: the log entry and the state of a label or verdict, alarms, quality."""

from __future__ import annotations

from online_model.ledger import Decision
from online_model.prequential import score, scored, truth_in
from online_model.replica import Replica
from schemas.log import LabelEntry, VerdictEntry
from schemas.records import Alarm, LabelState, ModelVersion, Prediction, Quality, Served, State


def entry_for(replica: Replica, decision: Decision, now: int) -> LabelEntry | VerdictEntry:
    """Return the next entry of the log: a label to learn, or a verdict `wrong`.

    Raises:
        ValueError: if the decision is neither.
    """
    return verdict_entry(replica, decision, now) if decision.denies else label_entry(replica, decision, now)


def verdict_entry(replica: Replica, decision: Decision, now: int) -> VerdictEntry:
    """Return the next entry of the log: a verdict `wrong`.

    Raises:
        ValueError: if nothing was served.
    """
    served, incoming = _served(decision.prediction), decision.incoming
    if served is None:
        raise ValueError("a verdict on nothing cannot be scored")
    return VerdictEntry(
        seq=replica.seq + 1,
        task=replica.task,
        time=now,
        event_id=incoming.feedback.event_id,
        weight=incoming.feedback.weight,
        served=served,
        feedback=incoming.ref,
    )


def label_entry(replica: Replica, decision: Decision, now: int) -> LabelEntry:
    """Return the next entry of the log: a label to learn.

    Raises:
        ValueError: if the label has no text.
    """
    prediction, incoming, text = decision.prediction, decision.incoming, decision.text
    if text is None or decision.label is None:
        raise ValueError("a label without a text, or a text without a label, cannot be learned")
    return LabelEntry(
        seq=replica.seq + 1,
        task=replica.task,
        time=now,
        event_id=incoming.feedback.event_id,
        text=text,
        meta=prediction.meta if prediction else {},
        label=decision.label,
        weight=incoming.feedback.weight,
        served=_served(prediction),
        feedback=incoming.ref,
        corrects=decision.corrects,
        marked=decision.marked,
    )


def _served(prediction: Prediction | None) -> Served | None:
    if prediction is None:
        return None
    return Served(label=prediction.label, proba=prediction.proba, classes=prediction.classes, model=prediction.model)


def label_state(decision: Decision, now: int, entry: LabelEntry | VerdictEntry | None = None) -> LabelState:
    """Return the label's new state; `entry` is the one of the log that absorbs it, if one does."""
    feedback = decision.incoming.feedback
    return LabelState(
        event_id=feedback.event_id,
        task=feedback.task,
        state=decision.state,
        previous=decision.previous,
        feedback=decision.incoming.ref,
        label=decision.label,
        seq=entry.seq if entry else None,
        served=decision.prediction.label if decision.prediction else None,
        score=score(truth_in(entry), counted) if entry and (counted := scored(entry)) else None,
        reason=decision.reason,
        comment=None if decision.state is State.WAITING else feedback.comment,
        time=now,
    )


def alarm_of(replica: Replica, entry: LabelEntry | VerdictEntry) -> Alarm | None:
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
