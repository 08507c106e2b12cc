"""The publish topology on lists, with a Redis of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from pyflink.table import Table

from schemas.parsing import encode, record_parser
from schemas.records import Aggregate, FeedbackRef, LabelState, ModelVersion, Position, Prediction, Score, State
from schemas.settings import Settings
from stack.redis import start_redis
from store.connect import connect_redis
from store.reader import RedisReader
from store.writer import RedisWriter
from stream.environment import Environment, Job
from stream.publish import publish
from tests.flink.conftest import Record, collect, record

pytestmark = pytest.mark.flink

MINUTE_MS = 60_000
NOW_MS = 1_800_000_000_000
TIMES_MS = (0, 1, MINUTE_MS - 1, MINUTE_MS, 61 * MINUTE_MS, 25 * 60 * MINUTE_MS)
SIZES_MS = {"minute": MINUTE_MS, "hour": 60 * MINUTE_MS, "day": 24 * 60 * MINUTE_MS}


def prediction(number: int) -> Record:
    body = Prediction(
        label="ab"[number % 2],
        proba={},
        classes=2,
        model=ModelVersion(line="base", seq=0),
        event_id=f"e{number}",
        task="default",
        text="good day",
        meta={},
        event_ts=0,
        predicted_at=NOW_MS + number,
        source=Position(partition=0, offset=number),
    )
    time = NOW_MS - NOW_MS % SIZES_MS["day"] + TIMES_MS[number % len(TIMES_MS)]
    return record(encode(body), number, key=body.event_id, task="default", label=body.label, time=time)


def state(number: int, now: State, previous: State | None = None, *, correct: bool | None = None, time: int = 1000) -> Record:
    body = LabelState(
        event_id=f"e{number}",
        task="default",
        state=now,
        previous=previous,
        feedback=FeedbackRef(at=Position(partition=0, offset=number)),
        label='"score":{"correct":true',
        score=None if correct is None else Score(correct=correct, log_loss=0.5),
        time=1,
    )
    return record(encode(body), number, key=f"e{number}", task="default", label=now.value, time=time)


def test_counts_and_records_reach_redis_and_the_counts_their_topic(
    environment: Callable[[Job], Environment], table: Callable[[Environment, Sequence[Record]], Table], settings: Settings, tmp_path: Path
) -> None:
    redis = start_redis(tmp_path / "redis")
    try:
        settings = msgspec.structs.replace(settings, redis=f"redis://{redis.address}/0")
        with connect_redis(settings.redis) as client:
            writer = RedisWriter(client, recent=100)
            # One that is marked is not filled from topics.
            writer.begin_filling()
            writer.mark()
            env = environment(Job.PUBLISH)
            predictions = [prediction(number) for number in range(40)]
            states = [
                state(1, State.WAITING),
                state(1, State.TRAINED, State.WAITING, correct=True),
                state(2, State.TRAINED, correct=False, time=1000 + MINUTE_MS),
                state(3, State.TRAINED, correct=True),
                state(4, State.TRAINED),
            ]
            heartbeat = env.tables.from_elements([(1,)], ["beat"])
            stream = publish(env.tables, table(env, predictions), table(env, states), table(env, []), heartbeat, settings)
            rows = collect(stream)
            reader = RedisReader(client)
            totals = {name: reader.counts("default", name, "total", limit=1)[0].counts for name in ("predictions", "label_states")}
            stored = client.hlen("millrace:default:predictions")
    finally:
        redis.stop()
    newest = {row.key: record_parser(Aggregate)(row.value) for row in rows}
    counted = {(count.granularity, count.start, count.label): count.count for count in newest.values() if count.name == "predictions"}
    expected: Counter[tuple[str, int, str]] = Counter()
    for _, _, _, time, _, _, label, _ in predictions:
        expected.update(
            [(granularity, time - time % size, str(label)) for granularity, size in SIZES_MS.items()] + [("total", 0, str(label))]
        )
    assert counted == expected
    assert totals == {"predictions": {"a": 20, "b": 20}, "label_states": {"waiting": 0, "trained": 4}}
    scored = {(count.granularity, count.start, count.label): count.count for count in newest.values() if count.name == "scores"}
    assert scored == {
        ("minute", 0, "correct"): 2,
        ("minute", MINUTE_MS, "wrong"): 1,
        **{(granularity, 0, label): count for granularity in ("hour", "day", "total") for label, count in (("correct", 2), ("wrong", 1))},
    }
    assert stored == 40
