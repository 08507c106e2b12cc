"""What the API answers: the shapes of its JSON, made from the records. Times are epoch milliseconds. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from api.explaining import ExplanationView
from api.problems import FieldError
from schemas.drift import Drift
from schemas.records import LabelState, Meta, ModelVersion, Prediction, Quality, Score, Scores, State, Trial
from store.keys import WIDTH_MS, Granularity
from store.reader import Bucket, confidence
from store.receipt import Receipt
from store.recent.index import Indexed
from store.recent.rows import Marks, Recent
from store.writer import TEXT_SHOWN


class PredictionView(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction. The label is null if the model knew no class; its probability is the confidence.

    `event_ts` is the time that the event says of itself, else `arrived_at`, when it reached Kafka.
    `traceparent` is the W3C trace context that the event brought as a header of its record, or null.
    Of its label: the state of the one that counts, the truth once one is learned and whether the prediction was correct, whether someone
    gave a label or verdict, and whether the last verdict is "wrong". `score` is that of the class by which predictions are ranked.
    """

    event_id: str
    task: str
    text: str
    text_truncated: bool
    meta: Meta
    label: str | None
    confidence: float
    proba: dict[str, float]
    classes: int
    model: ModelVersion
    event_ts: int
    arrived_at: int
    predicted_at: int
    traceparent: str | None
    label_state: State | None
    truth: str | None
    correct: bool | None
    reviewed: bool
    marked_wrong: bool
    score: float | None = None


class PredictionsView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of predictions, latest first; `next` is the cursor of the page after it, null on the last one.

    `indexed` says what the index holds in which filters and searches look.
    """

    task: str
    predictions: list[PredictionView]
    next: str | None
    indexed: Indexed


class PredictionDetail(PredictionView, frozen=True, kw_only=True):
    """A prediction, and the place in the model log that absorbed its label.

    `marked_wrong`: someone has said that it is wrong, and no label has come since. `correct` is by the truth, null without one.
    The explanation is null if it was not asked for, or the model cannot explain.
    """

    label_seq: int | None
    explanation: ExplanationView | None


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event's labels: the state of the one that counts, the seq that absorbed it, and all states, oldest first.

    `served` is the label that had been served for the event, `score` how that fared against the label that counts. Both are null
    if nobody had asked the model (a self-contained label); `score` also if the event was scored before: it is scored once, by its first
    label or verdict. `marked_wrong`: someone has said that what was served is wrong, and no label has come since.
    """

    event_id: str
    task: str
    state: State
    seq: int | None
    label: str | None
    truth: str | None
    served: str | None
    score: Score | None
    marked_wrong: bool
    time: int
    history: list[LabelState]


class CountsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of each label in the window that starts at `start`; the empty label counts those without one.

    `seconds` is the length of the window, of the running one so far, and `per_second` what that makes of the counts. The total has neither.
    """

    start: int
    total: int
    counts: dict[str, int]
    per_second: dict[str, float] = {}
    seconds: float | None = None


class CountsView(msgspec.Struct, frozen=True, kw_only=True):
    """Counts, newest window first."""

    task: str
    granularity: Granularity
    buckets: list[CountsBucket]


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """The model that the scores belong to, when it last learned, and how long ago that was."""

    line: str
    seq: int
    updated_at: int
    age_ms: int


class QualityView(msgspec.Struct, frozen=True, kw_only=True):
    """Prequential scores of the served predictions, their drift alarms, the lines that are watched, and how many labels are in each state.

    The model is null before the first label, the scores before the first label that scores one (imported labels teach and score nothing).
    """

    task: str
    time: int | None
    model: ModelView | None
    overall: Scores | None
    window: Scores | None
    window_size: int | None
    alarms: int = 0
    last_alarm: Drift | None = None
    trials: list[Trial] = []
    label_states: dict[str, int]


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Records that are in Kafka now, and their ids in the order sent (events: `event_id`, feedback: `feedback_id`)."""

    accepted: int
    ids: list[str]


class PartlyAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Some records of a list are in Kafka now, with their ids at their places; those with null are not, and `errors` says why.

    Send the others again, put right, as a request of their own.
    """

    accepted: int
    ids: list[str | None]
    errors: list[FieldError]


class PartView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a part is ready (null: not known), and why not.

    `since` (epoch ms): since when it is ready; if it is not, until when it was, as far as is known. Of a job: its last sign of life.
    """

    ready: bool | None
    detail: str
    since: int | None


class ReadyView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the API can serve, and each part. Kafka and Redis decide; the jobs, and how far the model log is read, are reported."""

    ready: bool
    parts: dict[str, PartView]


def _fields(recent: Recent) -> dict[str, Any]:
    p, marks = recent.prediction, recent.marks
    return {
        "event_id": p.event_id,
        "task": p.task,
        "text": p.text[:TEXT_SHOWN],
        "text_truncated": len(p.text) > TEXT_SHOWN,
        "meta": p.meta,
        "label": p.label,
        "confidence": confidence(p),
        "proba": p.proba,
        "classes": p.classes,
        "model": p.model,
        "event_ts": p.event_ts,
        "arrived_at": p.source.time,
        "predicted_at": p.predicted_at,
        "traceparent": p.traceparent,
        "label_state": marks.state,
        "truth": marks.truth,
        "correct": recent.correct,
        "reviewed": marks.reviewed,
        "marked_wrong": marks.marked_wrong,
    }


def prediction_view(recent: Recent) -> PredictionView:
    """Return a prediction as it is shown in a list."""
    return PredictionView(**_fields(recent), score=recent.score)


def prediction_detail(prediction: Prediction, receipt: Receipt | None, explanation: ExplanationView | None = None) -> PredictionDetail:
    """Return a prediction with what is known of its label."""
    recent = Recent(prediction=prediction, marks=Marks.of(receipt))
    return PredictionDetail(**_fields(recent), label_seq=receipt.seq if receipt else None, explanation=explanation)


def receipt_view(receipt: Receipt) -> ReceiptView:
    """Return a receipt as it is shown."""
    return ReceiptView(
        event_id=receipt.event_id,
        task=receipt.task,
        state=receipt.state,
        seq=receipt.seq,
        label=receipt.label,
        truth=receipt.truth,
        served=receipt.served,
        score=receipt.score,
        marked_wrong=receipt.marked_wrong,
        time=receipt.time,
        history=receipt.history,
    )


def counts_view(task: str, granularity: Granularity, buckets: list[Bucket], *, now: int) -> CountsView:
    """Return counts as they are shown at `now`."""
    return CountsView(
        task=task, granularity=granularity, buckets=[_counts_bucket(bucket, WIDTH_MS[granularity], now) for bucket in buckets]
    )


def _counts_bucket(bucket: Bucket, width: int | None, now: int) -> CountsBucket:
    total = sum(bucket.counts.values())
    if width is None:
        return CountsBucket(start=bucket.start, total=total, counts=bucket.counts)
    # A second at least: a window that has just begun, by a clock that may be behind Kafka's, would show any rate.
    seconds = min(width, max(1000, now - bucket.start)) / 1000
    rates = {label: count / seconds for label, count in bucket.counts.items()}
    return CountsBucket(start=bucket.start, total=total, counts=bucket.counts, per_second=rates, seconds=seconds)


def quality_view(task: str, quality: Quality | None, label_states: dict[str, int], *, now: int) -> QualityView:
    """Return the quality as it is shown at `now`; states without a label show as 0."""
    states = {state.value: label_states.get(state, 0) for state in State}
    if quality is None:
        return QualityView(task=task, time=None, model=None, overall=None, window=None, window_size=None, label_states=states)
    version, at = quality.model, quality.model_time
    return QualityView(
        task=task,
        time=quality.time,
        model=ModelView(line=version.line, seq=version.seq, updated_at=at, age_ms=max(0, now - at)),
        overall=quality.overall if quality.overall.labels else None,
        window=quality.window if quality.window.labels else None,
        window_size=quality.window_size,
        alarms=quality.alarms,
        last_alarm=quality.last_alarm,
        trials=quality.trials,
        label_states=states,
    )
