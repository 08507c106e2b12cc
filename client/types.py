"""What the API answers, as types. Times are epoch milliseconds. Fields that this version does not know are passed over."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from schemas.drift import Drift
from schemas.records import Alarm, LabelState, Meta, ModelVersion, Score, Scores, State, Trial

Granularity = Literal["minute", "hour", "day", "total"]


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """What one feature of a text adds to the logit of its label."""

    kind: str
    text: str
    value: float


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a text got its label; `same_model` says whether the model that explains is the one that had predicted."""

    label: str
    logit: float
    model: ModelVersion
    same_model: bool
    whole_text: bool = True
    contributions: list[Contribution]
    left_out: int = 0
    left_out_value: float = 0.0


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction, and what is known of its label."""

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
    traceparent: str | None = None
    label_state: str | None = None
    label_seq: int | None = None
    truth: str | None = None
    correct: bool | None = None
    reviewed: bool = False
    marked_wrong: bool = False
    score: float | None = None
    explanation: Explanation | None = None


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What a query looks through: how many events, and of which times."""

    events: int
    oldest: int | None
    newest: int | None
    complete: bool = True
    stale_since: int | None = None


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of predictions; `next` is the cursor of the page after it, None on the last one."""

    task: str
    predictions: list[Prediction]
    next: str | None
    indexed: Indexed | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event's labels."""

    event_id: str
    task: str
    state: State
    seq: int | None
    label: str | None
    truth: str | None
    served: str | None
    score: Score | None
    marked_wrong: bool = False
    time: int
    history: list[LabelState]


class CountsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of each label in the window that starts at `start`; rates are by the second, over `seconds`."""

    start: int
    total: int
    counts: dict[str, int]
    per_second: dict[str, float] = {}
    seconds: float | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts, newest window first."""

    task: str
    granularity: Granularity
    buckets: list[CountsBucket]


class TrendingItem(msgspec.Struct, frozen=True, kw_only=True):
    """How often a name was used in the window, and how often in the one before."""

    name: str
    count: int
    before: int
    change: int


class Trending(msgspec.Struct, frozen=True, kw_only=True):
    """What was named most in the last closed window."""

    task: str
    kind: str
    window_ms: int
    slide_ms: int
    start: int | None
    end: int | None
    items: list[TrendingItem]
    total: int
    total_before: int
    missed: int
    late: int
    lost: int


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The model that the scores belong to."""

    line: str
    seq: int
    updated_at: int
    age_ms: int


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How well the served predictions fared."""

    task: str
    time: int | None
    model: Model | None
    overall: Scores | None
    window: Scores | None
    window_size: int | None
    alarms: int = 0
    last_alarm: Drift | None = None
    trials: list[Trial] = []
    label_states: dict[str, int]


class QualityBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of the labels that came in a window."""

    start: int
    labels: int
    correct: int
    accuracy: float | None


class QualityHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Scores over time, newest window first."""

    task: str
    granularity: Granularity
    buckets: list[QualityBucket]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """How often a label was served for a truth."""

    truth: str
    label: str
    count: float


class Confusion(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken for what."""

    task: str
    model: ModelVersion
    stale_since: int | None = None
    labels: list[str]
    other: float
    cells: list[Cell]


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """How sure the model was, and how right, between two probabilities."""

    low: float
    high: float
    labels: int
    confidence: float | None
    accuracy: float | None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether probabilities are what they say; `ece` is the expected calibration error."""

    task: str
    model: ModelVersion
    stale_since: int | None = None
    window_size: int | None = None
    labels: int
    ece: float | None
    bins: list[CalibrationBin]


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """Drift alarms, newest first."""

    task: str
    stale_since: int | None = None
    alarms: list[Alarm]


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks that there are, the one that is meant where none is named, and where events and labels can be sent without the API."""

    tasks: list[str]
    default: str
    kafka: str
    topics: dict[str, str]


class Classes(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that the serving model knows, sorted; `stale_since` is None while the model log is followed."""

    task: str
    model: ModelVersion
    stale_since: int | None = None
    classes: list[str]


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of one text."""

    label: str | None
    confidence: float
    proba: dict[str, float]
    model: ModelVersion | None = None
    explanation: Explanation | None = None


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of some texts, in their order."""

    task: str
    model: ModelVersion
    stale_since: int | None = None
    results: list[Classified]


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field; `index` is the item's place in a list that was sent."""

    field: str
    reason: str
    detail: str
    index: int | None = None


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """Records that are in Kafka now: their ids in the order sent, None for those that were refused, which `errors` name."""

    accepted: int
    ids: list[str | None]
    errors: list[FieldError] = []


class LiveEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: `kind` is prediction, counts, quality or dropped; `id` resumes behind it."""

    kind: str
    id: str | None
    data: Any
