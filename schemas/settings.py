"""The settings: frozen, read once from a mapping, all errors reported at once. Units are in the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

from schemas.kafka_address import KafkaAddressError
from schemas.kafka_login import with_login
from schemas.records import DEFAULT_TASK, TaskName
from schemas.redis_address import without_password

PREFIX = "MILLRACE_"

Positive = Annotated[int, msgspec.Meta(ge=1)]
S = TypeVar("S", bound=msgspec.Struct)

DriftDetector = Literal["adwin", "ddm", "hddm_a", "page_hinkley", "none"]


class SettingsError(ValueError):
    """Settings are wrong; whoever starts Millrace must act. The message lists all that is wrong."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What jobs, API and tools need to know. Every field is the environment variable MILLRACE_<NAME IN CAPITALS>.

    Attributes:
        kafka: bootstrap servers, `host:port,…`; with a login, see the variables `MILLRACE_KAFKA_…` below.
        redis: URL of the Redis database.
        artifacts: folder of the snapshots.
        application: names this installation in the logs.
        tasks: names of the tasks, each an independent model (at most 8).
        topic_prefix: put before every topic's name, so that several installations share a broker.
        topic_partitions: partitions of the high-volume topics when they are created.
        checkpoint_interval_ms: time between checkpoints of each job; committed output waits for them.
        transaction_timeout_s: an outage of Kafka or of a job may last so long; what was written before it and not committed is lost after
            that. Brokers must allow it (`transaction.max.timeout.ms`, 15 minutes by default; the broker of `millrace up` allows a day).
        classify_parallelism: instances of the predictor.
        label_wait_s: how long a prediction waits for labels, and a label for its event.
        event_known_s: how long an event is kept after the last thing that came about it, to tell late labels from those of unknown
            events, and duplicates; never shorter than label_wait_s.
        snapshot_interval_s: a snapshot is written at the latest so long after a label was learned.
        snapshot_labels: … or after so many labels.
        snapshots_kept: how many of the newest snapshots stay.
        quality_window: labels in the sliding window of the scores.
        drift_detector: which of River's detectors watches the errors of the served predictions and raises alarms (topic `alarms`); `none`
            for no alarms.
        trial_least_labels: so many labels must have compared a watched line with the one that serves before either can win.
        trial_most_labels: a watched line that has not won by then is dropped; a former one that has not, too.
        trial_error: the probability, over the whole of a trial, of calling a line better that is not.
        trial_margin: by how much of all labels a line must be better to be promoted, or the former one to come back.
        max_text_bytes: longest text of an event or of a self-contained label, in UTF-8 bytes; at most 1 MiB, so that all made of it fits
            into a record.
        proba_top: how many of the most probable classes a prediction carries.
        model: the classifier: `softmax`, the own engine, or any of River's, `river:MODULE.CLASS`; parameters after a question mark
            (docs/models.md).
        model_memory_mib: memory of one model's arrays, where the model is the own engine and does not say it itself.
        allow_pickle: whether models of River are stored as snapshots, which are pickles: whoever can write to the artifact folder can
            then run code in the jobs. Without it they are never stored, and each start learns the whole log again.
        recent_predictions: how many predictions of each task Redis keeps (and as many label receipts).
        review_window: so many of the newest predictions are candidates of the review queue.
        review_random_share: share of the events, chosen by hash of their id, that only chance asks for: their labels alone estimate the
            accuracy without bias (docs/review.md).
        review_claim_s: so long an event is kept for the reviewer who was asked about it.
        review_labels_per_event: so many reviewers must agree on the label of an event that several are asked about; 1 for one reviewer an
            event.
        review_second_share: share of the events, chosen by hash of their id, that several reviewers are asked about, if several are.
        publish_interval_ms: predictions are written to Redis in batches of so long.
        trending: whether the names in the texts are counted (docs/trending.md).
        trending_slide_s: a window of them begins every so often.
        trending_window_slides: … and is so many of these long.
        trending_top: how many of the most frequent names of a window are shown, of each kind.
        trending_lateness_ms: a window waits so long, in Kafka's time, for predictions that come out of order. Those that come later are
            counted apart.
        trending_idle_ms: a partition without predictions for so long holds up no window; when none has any, windows close by the clock.
        trending_names: how many different names may be kept, each in each slide, for all windows and tasks together; of more, the rarest
            are left out, and by how much that can make a count too low is shown. 100 bytes of the TaskManager's heap each.
        learn_state_backend: where Flink keeps the predictions that wait for labels: RocksDB writes at a checkpoint what is new, the heap
            (`hashmap`) everything.
        taskmanager_heap_mib: heap for tasks and their state in the TaskManager that `millrace up` starts.
        shutdown_timeout_s: how long a savepoint may take when jobs are stopped.
        drill_folder: a file named like a job that appears here makes an operator of that job fail once; empty for none.
    """

    kafka: str = "127.0.0.1:9092"
    redis: str = "redis://127.0.0.1:6379/0"
    artifacts: str = "artifacts"
    application: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{1,64}\\Z")] = "millrace"
    tasks: Annotated[tuple[TaskName, ...], msgspec.Meta(min_length=1, max_length=8)] = (DEFAULT_TASK,)
    topic_prefix: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{0,64}\\Z")] = ""
    topic_partitions: Positive = 4
    checkpoint_interval_ms: Annotated[int, msgspec.Meta(ge=100)] = 500
    transaction_timeout_s: Positive = 15 * 60
    classify_parallelism: Positive = 1
    label_wait_s: Positive = 24 * 3600
    event_known_s: Positive = 7 * 24 * 3600
    snapshot_interval_s: Positive = 20
    snapshot_labels: Positive = 10_000
    snapshots_kept: Annotated[int, msgspec.Meta(ge=2)] = 5
    quality_window: Positive = 1000
    drift_detector: DriftDetector = "adwin"
    trial_least_labels: Positive = 50
    trial_most_labels: Positive = 5000
    trial_error: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.01
    trial_margin: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    max_text_bytes: Annotated[int, msgspec.Meta(ge=1, le=1024 * 1024)] = 1024 * 1024
    proba_top: Annotated[int, msgspec.Meta(ge=1, le=500)] = 10
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] = "softmax"
    model_memory_mib: Annotated[int, msgspec.Meta(ge=1, le=16384)] = 32
    allow_pickle: bool = False
    recent_predictions: Positive = 100_000
    review_window: Annotated[int, msgspec.Meta(ge=1, le=200_000)] = 20_000
    review_random_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    review_claim_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 600
    review_labels_per_event: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    review_second_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    publish_interval_ms: Annotated[int, msgspec.Meta(ge=10)] = 100
    trending: bool = True
    trending_slide_s: Annotated[int, msgspec.Meta(ge=1, le=24 * 3600)] = 60
    trending_window_slides: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 10
    trending_top: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    trending_lateness_ms: Annotated[int, msgspec.Meta(ge=1, le=3600 * 1000)] = 5000
    trending_idle_ms: Annotated[int, msgspec.Meta(ge=100, le=3600 * 1000)] = 10_000
    trending_names: Annotated[int, msgspec.Meta(ge=100)] = 400_000
    learn_state_backend: Literal["rocksdb", "hashmap"] = "rocksdb"
    taskmanager_heap_mib: Annotated[int, msgspec.Meta(ge=256)] = 700
    shutdown_timeout_s: Positive = 120
    drill_folder: str = ""

    def __repr__(self) -> str:
        """Show it without the password that the URL of a Redis may hold."""
        fields = {**msgspec.structs.asdict(self), "redis": without_password(self.redis)}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    @property
    def trending_slide_ms(self) -> int:
        """How long a slide of the trending names is, in milliseconds."""
        return self.trending_slide_s * 1000

    @property
    def trending_window_ms(self) -> int:
        """How long a window of the trending names is, in milliseconds."""
        return self.trending_slide_ms * self.trending_window_slides

    @property
    def kept_s(self) -> int:
        """How long learn keeps what it knows of an event, in seconds: a label must be able to wait its time."""
        return max(self.event_known_s, self.label_wait_s)


def read_settings(environment: Mapping[str, str]) -> Settings:
    r"""Return the settings in `environment` (keys with the prefix MILLRACE_); lists are comma-separated.

    Raises:
        SettingsError: naming every variable that is wrong, and why.

    >>> read_settings({"MILLRACE_TASKS": "a,b", "HOME": "/"}).tasks
    ('a', 'b')
    >>> read_settings({"MILLRACE_QUALITY_WINDOW": "0", "MILLRACE_TASKS": "A"})
    Traceback (most recent call last):
    ...
    schemas.settings.SettingsError: MILLRACE_QUALITY_WINDOW='0': Expected `int` >= 1
    MILLRACE_TASKS='A': Expected `str` matching regex '^[a-z0-9][a-z0-9_-]{0,62}\Z' - at `$[0]`
    """
    problems: list[str] = []
    settings, kafka = Settings(), ""
    try:
        settings = read_prefixed(environment, Settings, PREFIX)
    except SettingsError as error:
        problems += str(error).splitlines()
    try:
        kafka = with_login(environment.get(f"{PREFIX}KAFKA", settings.kafka), environment)
    except KafkaAddressError as error:
        problems += [f"{PREFIX}KAFKA: {problem}" for problem in str(error).splitlines()]
    if problems:
        raise SettingsError("\n".join(problems))
    return msgspec.structs.replace(settings, kafka=kafka)


def read_prefixed(environment: Mapping[str, str], kind: type[S], prefix: str) -> S:
    """Return the settings of `kind` in `environment`: of each field the variable `prefix` + its name in capitals.

    Raises:
        SettingsError: naming every variable that is wrong, and why.
    """
    fields = {prefix + f.name.upper(): f for f in msgspec.structs.fields(kind)}
    values: dict[str, object] = {}
    problems: list[str] = []
    for name, text in sorted(environment.items()):
        field = fields.get(name)
        if field is not None:
            try:
                values[field.name] = _convert(text, field)
            except msgspec.ValidationError as error:
                problems.append(f"{name}={text!r}: {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return msgspec.convert(values, kind)


def _convert(text: str, field: msgspec.structs.FieldInfo) -> object:
    raw: object = text
    if isinstance(field.default, tuple):
        raw = [part.strip() for part in text.split(",")] if text.strip() else []
    return msgspec.convert(raw, field.type, strict=False)


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables; `read_settings` gives them back.

    >>> read_settings(as_environment(Settings(tasks=("a", "b")))) == Settings(tasks=("a", "b"))
    True
    """
    return to_environment(settings, PREFIX)


def to_environment(settings: msgspec.Struct, prefix: str) -> dict[str, str]:
    """Return the variables that `read_prefixed` reads these settings from."""
    values = msgspec.structs.asdict(settings)
    return {prefix + k.upper(): ",".join(v) if isinstance(v, tuple) else str(v) for k, v in values.items()}
