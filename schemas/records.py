"""The records of the topics as frozen, validated types. Times are epoch milliseconds; every record carries a schema version."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from schemas.drift import Drift

SCHEMA_VERSION = 1
DEFAULT_TASK = "default"

NO_MARK = "^[^\\ufeff\\ufffe]"
"""Not a byte order mark, nor one read backwards: Flink's bridge to Python decodes UTF-16, and would take it for one."""

MAX_ID = 256
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID, pattern=NO_MARK)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID, pattern=NO_MARK)]
TaskName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]{0,62}\\Z")]
LATEST_MS = 253_402_300_799_999
"""The end of the year 9999."""

EpochMs = Annotated[int, msgspec.Meta(ge=0, le=LATEST_MS)]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1000)]
Meta = dict[str, str | int | float | bool | None]

Role = Literal["shadow", "split", "former"]
"""Of a line that is watched: one that does not serve yet, one that serves a share of the events, the one that served before."""


KeyRole = Literal["read", "write", "review", "admin"]
"""What a key of the API may do. `write` and `review` may also read, `admin` may do everything."""


class Reason(StrEnum):
    """Why a record was refused, so that there is a dead letter."""

    NULL_VALUE = "null_value"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    INVALID_FIELD = "invalid_field"
    TEXT_TOO_LONG = "text_too_long"
    META_TOO_LONG = "meta_too_long"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_TASK = "unknown_task"


class State(StrEnum):
    """The state of a label; each is in exactly one."""

    WAITING = "waiting"
    TRAINED = "trained"
    DUPLICATE = "duplicate"
    CORRECTED = "corrected"
    MARKED = "marked"
    EXPIRED = "expired"
    ORPHAN = "orphan"
    REJECTED = "rejected"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all records share: the version of their schema."""

    v: int = SCHEMA_VERSION


class Event(Record, frozen=True, kw_only=True):
    """A text to classify. Topic `events`, key `event_id`."""

    event_id: Id
    text: str
    ts: EpochMs | None = None
    task: TaskName = DEFAULT_TASK
    meta: Meta = {}


Drawn = Literal["random", "uncertain", "diverse", "new", "wrong"]
"""Why an event was chosen to be labelled: at random, or since it promised to teach much."""


Verdict = Literal["right", "wrong"]
"""What someone says of the label that was served, in place of a label."""


class Feedback(Record, frozen=True, kw_only=True):
    """A label for an event, or a verdict on what was served for it, one of both. Topic `feedback`, key `event_id`.

    The verdict `right` is the label that was served; `wrong` names none: it counts against the prediction and teaches nothing.
    With `text` a label is self-contained: it needs no event, is learned at once, and never waits or expires. So labels from before
    Millrace can be imported. A label from the review queue says who gave it (`reviewer`) and why it was asked for (`drawn`).
    """

    event_id: Id
    label: Label | None = None
    verdict: Verdict | None = None
    text: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    feedback_id: Id | None = None
    task: TaskName = DEFAULT_TASK
    ts: EpochMs | None = None
    source: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    weight: Weight = 1.0
    comment: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    reviewer: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    drawn: Drawn | None = None


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which model: a line (a base model and what was learned on it) and the sequence number of the last entry applied."""

    line: str
    seq: int


class Position(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Where a record lies in its topic, and the broker's time of it."""

    partition: int
    offset: int
    time: EpochMs = 0


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction as it was served.

    `proba` holds the most probable classes only, most probable first, rounded to 6 decimals; `classes` is how many
    the model knew. The label is null, and `proba` empty, if the model knew no class yet.
    """

    label: str | None
    proba: dict[str, float]
    classes: int
    model: ModelVersion


class Prediction(Served, frozen=True, kw_only=True):
    """A classified event. Topic `predictions`, key `event_id`; `source` is the event's place in `events`.

    `traceparent` is the W3C trace context that the event brought as a header; null if it brought none, or an invalid one.
    """

    v: int = SCHEMA_VERSION
    event_id: str
    task: str
    text: str
    meta: Meta
    event_ts: EpochMs
    predicted_at: EpochMs
    source: Position
    traceparent: str | None = None


class FeedbackRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which feedback record: its position is its identity, the sender's id is what the sender may have given it."""

    at: Position
    feedback_id: str | None = None
    source: str | None = None
    reviewer: str | None = None
    drawn: Drawn | None = None
    verdict: Verdict | None = None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How the served prediction fared: natural-log loss of the label's probability; for a `wrong`, of all other labels than the served."""

    correct: bool
    log_loss: float


class LabelState(Record, frozen=True, kw_only=True):
    """A change of a label's state. Topic `label-states`, key `event_id` (empty for a label that names none).

    `label` is for the verdict `right` the one that was served, once that is known, and null for `wrong`. `seq` is the entry of the
    model log that absorbed it; null if it teaches and scores nothing (yet). `served` is the label that had been served for the event,
    and `score` how that fared; null if nothing is scored: the label was not learned, the event was scored before, or nobody had asked.
    """

    event_id: str | None
    task: str | None
    state: State
    previous: State | None = None
    feedback: FeedbackRef
    label: str | None = None
    seq: int | None = None
    served: str | None = None
    score: Score | None = None
    reason: str | None = None
    comment: str | None = None
    time: EpochMs


class ClassQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one class; shares in 0..1, support in labels."""

    precision: float
    recall: float
    f1: float
    support: float


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Prequential scores over some `labels`, verdicts `wrong` among them: accuracy and F1 in 0..1, log loss in nats."""

    labels: int
    accuracy: float
    macro_f1: float
    log_loss: float
    per_class: dict[str, ClassQuality]


class Alarm(Record, frozen=True, kw_only=True):
    """A drift alarm, a function of the model log. Topic `alarms`, key `task`; `time` is that of the log entry. Resets no model."""

    task: str
    time: EpochMs
    model: ModelVersion
    drift: Drift


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is watched beside the one that serves, compared with it label by label since entry `since_seq`.

    Both predict the text of each label just before they learn it. `labels` were compared; `champion_correct` and `line_correct`
    of them came out right, `only_champion` and `only_line` by one of the two alone; the log losses are sums, in nats. Of events
    that the line itself was served for (`share` of them, in role `split`), `served` labels came, `served_correct` right; of the
    champion's, `champion_served` and `champion_served_correct`.
    """

    line: str
    role: Role
    champion: str
    since_seq: int
    share: float = 0.0
    labels: int = 0
    champion_correct: int = 0
    line_correct: int = 0
    only_champion: int = 0
    only_line: int = 0
    champion_log_loss: float = 0.0
    line_log_loss: float = 0.0
    served: int = 0
    served_correct: int = 0
    champion_served: int = 0
    champion_served_correct: int = 0


class Quality(Record, frozen=True, kw_only=True):
    """How well the served predictions fared. Topic `quality`, key `task`, compacted.

    `alarms` is the number of drift alarms so far, `last_alarm` the last of them; `trials` are the lines that are watched.
    """

    task: str
    time: EpochMs
    model: ModelVersion
    model_time: EpochMs
    overall: Scores
    window: Scores
    window_size: int
    alarms: int = 0
    last_alarm: Drift | None = None
    trials: list[Trial] = []


class Aggregate(Record, frozen=True, kw_only=True):
    """An absolute count. Topic `aggregates`, key `name/task/label/granularity/start`, compacted.

    The label is that of the predictions, the state of the label states, and `correct` or `wrong` of the scores.
    """

    name: Literal["predictions", "label_states", "scores"]
    task: str
    label: str
    granularity: Literal["minute", "hour", "day", "total"]
    start: EpochMs
    count: int


class DeadLetter(Record, frozen=True, kw_only=True):
    """A record that was refused. Topic `dead-letters`; `head` is the base64 of at most the first 64 KiB of its value."""

    topic: str
    partition: int
    offset: int
    reason: Reason
    detail: str
    length: int
    sha256: str
    head: str
    time: EpochMs
