"""What the API answers: the shapes of its JSON, made from the records. Times are epoch milliseconds. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.records import Drift, LabelState, Meta, ModelVersion, Prediction, Quality, Score, Scores, State, Trial
from store.keys import Granularity
from store.reader import Bucket, Page, confidence
from store.receipt import Receipt
from store.writer import TEXT_SHOWN


class PredictionView(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction. The label is null if the model knew no class; its probability is the confidence."""

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
    predicted_at: int


class PredictionsView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of predictions, latest first; `next` is the cursor of the page after it, null on the last one."""

    task: str
    predictions: list[PredictionView]
    next: str | None


class PredictionDetail(PredictionView, frozen=True, kw_only=True):
    """A prediction and what is known of its label: state, place in the model log, the truth once it is learned."""

    label_state: State | None
    label_seq: int | None
    truth: str | None
    correct: bool | None


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event's labels: the state of the one that counts, the seq that absorbed it, and all states, oldest first.

    `served` is the label that had been served for the event, `score` how that fared against the label that counts. Both are null
    if nobody had asked the model (a self-contained label); `score` also for a correction, since an event is scored once.
    """

    event_id: str
    task: str
    state: State
    seq: int | None
    label: str | None
    truth: str | None
    served: str | None
    score: Score | None
    time: int
    history: list[LabelState]


class CountsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of each label in the window that starts at `start`; the empty label counts those without one."""

    start: int
    total: int
    counts: dict[str, int]


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


def _fields(p: Prediction) -> dict[str, Any]:
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
        "predicted_at": p.predicted_at,
    }


def predictions_view(task: str, page: Page) -> PredictionsView:
    """Return a page as it is shown."""
    shown = [PredictionView(**_fields(p)) for p in page.predictions]
    return PredictionsView(task=task, predictions=shown, next=page.next.text() if page.next else None)


def prediction_detail(prediction: Prediction, receipt: Receipt | None) -> PredictionDetail:
    """Return a prediction with what is known of its label."""
    truth = receipt.truth if receipt else None
    return PredictionDetail(
        **_fields(prediction),
        label_state=receipt.state if receipt else None,
        label_seq=receipt.seq if receipt else None,
        truth=truth,
        correct=None if truth is None else truth == prediction.label,
    )


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
        time=receipt.time,
        history=receipt.history,
    )


def counts_view(task: str, granularity: Granularity, buckets: list[Bucket]) -> CountsView:
    """Return counts as they are shown."""
    shown = [CountsBucket(start=b.start, total=sum(b.counts.values()), counts=b.counts) for b in buckets]
    return CountsView(task=task, granularity=granularity, buckets=shown)


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
