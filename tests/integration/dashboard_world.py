"""What the tests of the dashboard look at: a real API on a real broker and Redis, with one task that lives, one that is full, one empty.

`default` lives: jobs and learner are played, what is sent comes back. `mood` is full: its records were written as the jobs write them,
some with texts that would do harm if they were taken for markup. Nothing was ever sent to `quiet`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
from kafka import KafkaProducer

from benchmarks.taught_release import store_taught
from schemas.drift import Drift
from schemas.log import LabelEntry
from schemas.parsing import encode
from schemas.records import (
    Aggregate,
    Alarm,
    ClassQuality,
    FeedbackRef,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Quality,
    Score,
    Scores,
    Served,
    State,
)
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.trending import Trending, TrendingName
from stack.process import Part
from store.connect import connect_redis
from store.keys import WIDTH_MS
from store.labelled_files import Row
from store.writer import RedisWriter
from tests.integration.played_learner import PlayedLearner, label, release

MARKUP = "<img src=x onerror=\"window.harmed=1\"><script>window.harmed=1</script><b>bold</b> & 'quoted'"
LABELS = ("anger", "joy", MARKUP)
TEXTS = {"anger": "this is not what I ordered", "joy": "thank you so much", MARKUP: f"{MARKUP} https://example.org/"}
EVENTS = 40
LESSONS = 60
MINUTE_MS = 60_000
RELEASED = "r1-good"


def settings_for(redis: Part, kafka: str, prefix: str, folder: Path) -> Settings:
    return Settings(
        redis=f"redis://{redis.address}/0", kafka=kafka, topic_prefix=prefix, tasks=("default", "mood", "quiet"), artifacts=str(folder),
        model_memory_mib=1,
    )  # fmt: skip


@contextmanager
def filled(settings: Settings) -> Iterator[PlayedLearner]:
    """Fill the task `mood`; its learner answers commands until the block ends."""
    now = time.time_ns() // 1_000_000
    with connect_redis(settings.redis) as client:
        writer = RedisWriter(client, recent=1000, topic_prefix=settings.topic_prefix)
        writer.write_predictions([encode(_prediction(number, now)) for number in range(EVENTS)])
        writer.write_label_states([_state(number, now) for number in range(0, EVENTS, 4)])
        writer.write_quality(_quality(now))
        writer.write_aggregates([*_counts(now), *_scores(now)])
        writer.write_trending([_trending(kind, now) for kind in ("hashtag", "mention", "word")])
    _raise_alarm(settings, now)
    learner = PlayedLearner(settings, "mood")
    learner.write(*(_lesson(seq, now) for seq in range(1, LESSONS)))
    old, _ = (
        store_taught(settings, line, [Row(TEXTS[one], one, None, {}) for one in LABELS], task="mood") for line in ("r0-old", RELEASED)
    )
    entry = release(LESSONS, old.line, time_ms=now, task="mood")
    learner.write(msgspec.structs.replace(entry, by=MARKUP, why=MARKUP, origin=old.origin))
    with learner.answering():
        yield learner


def until(api: httpx.Client, path: str, what: str, **query: str | int) -> None:
    """Wait until an answer names something."""
    deadline = time.monotonic() + 30
    while what not in (answer := api.get(path, params=query)).text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


def _label(number: int) -> str:
    return LABELS[number % len(LABELS)]


def _served(number: int, confidence: float = 0.8) -> Served:
    said = _label(number)
    rest = {one: round((1 - confidence) / 2, 6) for one in LABELS if one != said}
    return Served(label=said, proba={said: confidence, **rest}, classes=len(LABELS), model=ModelVersion(line="base", seq=number))


def _prediction(number: int, now: int) -> Prediction:
    served = _served(number, 0.4 + 0.5 * number / EVENTS)
    return Prediction(
        **msgspec.structs.asdict(served), event_id=f"m{number}", task="mood", text=f"{TEXTS[_label(number)]} ({number})",
        meta={"channel": MARKUP if number % 5 == 0 else "mail"}, event_ts=now - 1500 - 10 * number, predicted_at=now - 1000 + number,
        source=Position(partition=0, offset=number, time=now - 1200),
    )  # fmt: skip


def _state(number: int, now: int) -> LabelState:
    said = _label(number)
    ref = FeedbackRef(at=Position(partition=0, offset=number, time=now), reviewer="bob", source="test")
    return LabelState(
        event_id=f"m{number}", task="mood", state=State.TRAINED, feedback=ref, label=said, seq=number + 1, served=said,
        score=Score(correct=True, log_loss=0.2), time=now,
    )  # fmt: skip


def _quality(now: int) -> Quality:
    per_class = {one: ClassQuality(precision=0.9, recall=0.8, f1=0.85, support=20.0) for one in LABELS}
    scores = Scores(labels=LESSONS, accuracy=0.75, macro_f1=0.7, log_loss=0.6, per_class=per_class)
    return Quality(
        task="mood", time=now, model=ModelVersion(line="base", seq=LESSONS), model_time=now, overall=scores, window=scores,
        window_size=1000, alarms=1, last_alarm=_drift(),
    )  # fmt: skip


def _drift() -> Drift:
    return Drift(number=1, seq=30, detector="adwin", errors_before=0.1, labels_before=400, errors_after=0.4, labels_after=80)


def _counts(now: int) -> Iterator[Aggregate]:
    for granularity, width in WIDTH_MS.items():
        for back in range(1 if width is None else 5):
            start = 0 if width is None else now - now % width - back * width
            for place, said in enumerate(LABELS):
                count = 40 + 10 * place + back
                yield Aggregate(name="predictions", task="mood", label=said, granularity=granularity, start=start, count=count)


def _scores(now: int) -> Iterator[Aggregate]:
    for back in range(5):
        start = now - now % MINUTE_MS - back * MINUTE_MS
        for what, n in (("correct", 8 - back), ("wrong", 2 + back)):
            yield Aggregate(name="scores", task="mood", label=what, granularity="minute", start=start, count=n)


def _trending(kind: str, now: int) -> Trending:
    items = [TrendingName(name="refund", count=9, before=4, change=5), TrendingName(name=MARKUP[:60], count=7, before=0, change=7)]
    return Trending(task="mood", kind=kind, start=now - 60_000, end=now, slide_ms=10_000, items=items, total=50, total_before=40)  # type: ignore[arg-type]  # names come from a loop


def _raise_alarm(settings: Settings, now: int) -> None:
    alarm = Alarm(task="mood", time=now - 2 * MINUTE_MS, model=ModelVersion(line="base", seq=30), drift=_drift())
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    producer.send(settings.topic_prefix + Topic.ALARMS, encode(alarm), key=b"mood")
    producer.close()


def _lesson(seq: int, now: int) -> LabelEntry:
    said, served = _label(seq), _served(seq + (seq % 4 == 0), 0.5 + (seq % 5) / 10)
    return msgspec.structs.replace(
        label(seq, task="mood", time_ms=now - 1000 * (LESSONS - seq)), event_id=f"old-{seq}", text=TEXTS[said], label=said, served=served
    )  # fmt: skip
