"""The read model on a real Redis: bounded, repeatable in any order of rewriting, and pageable while it grows."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from schemas.parsing import encode
from schemas.records import (
    Aggregate,
    FeedbackRef,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Quality,
    Scores,
    State,
)
from schemas.trending import NameKind, Trending, TrendingName
from stack.process import Part
from store.connect import RedisUnavailable, check_redis, connect_redis
from store.cursor import Cursor
from store.keys import COUNT_LIFETIME_MS, NO_LABEL, TRENDING_LIFETIME_MS
from store.reader import RedisReader, confidence
from store.writer import COMMENT_SHOWN, HISTORY, TEXT_SHOWN, RedisWriter

pytestmark = pytest.mark.integration

NOW = int(time.time() * 1000)


def encode_all(batch: list[Prediction]) -> list[bytes]:
    return [encode(prediction) for prediction in batch]


def prediction(
    number: int, *, label: str | None = "a", at: int | None = None, p: float = 0.9, text: str = "hi", task: str = "default"
) -> Prediction:
    return Prediction(
        event_id=f"e{number}",
        task=task,
        text=text,
        meta={},
        label=label,
        proba={} if label is None else {label: p},
        classes=2,
        model=ModelVersion(line="base", seq=number),
        event_ts=1,
        predicted_at=NOW + number if at is None else at,
        source=Position(partition=0, offset=number),
    )


def state(offset: int, kind: State, *, event: str = "e1", at: int = 0, seq: int | None = None, label: str | None = "a") -> LabelState:
    ref = FeedbackRef(at=Position(partition=0, offset=offset))
    return LabelState(event_id=event, task="default", state=kind, feedback=ref, label=label, seq=seq, time=NOW + at)


def dump(client: redis.Redis) -> dict[bytes, object]:
    """Everything in Redis but the generation's random id, and the streams, which tell the order of writing."""
    ask: Any = client
    reads = {b"hash": ask.hgetall, b"zset": lambda key: ask.zrange(key, 0, -1, withscores=True), b"string": ask.get}
    return {key: reads[ask.type(key)](key) for key in client.scan_iter() if not key.endswith((b":generation", b":arrived"))}


@pytest.fixture
def writer(redis_client: redis.Redis) -> RedisWriter:
    return RedisWriter(redis_client, recent=50)


@pytest.fixture
def reader(redis_client: redis.Redis) -> RedisReader:
    return RedisReader(redis_client)


def test_predictions_come_latest_first_and_by_filter(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_predictions(encode_all([prediction(n, label="ab"[n % 2], p=n / 10) for n in range(10)]))
    assert [p.event_id for p in reader.predictions("default", limit=3).predictions] == ["e9", "e8", "e7"]
    assert [p.event_id for p in reader.predictions("default", label="a").predictions] == ["e8", "e6", "e4", "e2", "e0"]
    sure = reader.predictions("default", label="a", min_confidence=0.6)
    assert [p.event_id for p in sure.predictions] == ["e8", "e6"]
    assert sure.next is None
    assert all(confidence(p) >= 0.6 for p in sure.predictions)
    assert reader.predictions("other").predictions == []


def test_a_prediction_comes_back_as_it_was(writer: RedisWriter, reader: RedisReader) -> None:
    odd = prediction(1, label="5:é\x00\n☃", text="a\x00:\n☃")
    writer.write_predictions(encode_all([odd]))
    assert reader.prediction("default", "e1") == odd
    assert reader.predictions("default", label=odd.label).predictions == [odd]
    assert reader.prediction("default", "e2") is None


def test_no_label_has_an_index_of_its_own(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_predictions(encode_all([prediction(1, label=None), prediction(2)]))
    assert [p.event_id for p in reader.predictions("default", label=NO_LABEL).predictions] == ["e1"]
    assert reader.predictions("default", label=NO_LABEL).predictions[0].label is None


def test_long_texts_are_cut(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_predictions(encode_all([prediction(1, text="x" * 100_000)]))
    stored = reader.prediction("default", "e1")
    assert stored is not None
    assert len(stored.text) == TEXT_SHOWN + 1


def test_memory_is_bounded(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    order = list(range(500))
    random.Random(1).shuffle(order)
    for start in range(0, 500, 70):
        writer.write_predictions(encode_all([prediction(n, label=f"l{n % 7}") for n in order[start : start + 70]]))
        writer.write_label_states([state(n, State.TRAINED, event=f"e{n}", at=n, seq=n) for n in order[start : start + 70]])
    newest = [f"e{n}" for n in range(499, 449, -1)]
    assert [p.event_id for p in reader.predictions("default", limit=1000).predictions] == newest
    sizes = {key: len(value) for key, value in dump(redis_client).items()}  # type: ignore[arg-type]  # values are of several kinds
    assert sizes[b"millrace:default:predictions"] == sizes[b"millrace:default:labels"] == sizes[b"millrace:default:labels:time"] == 50
    assert sum(size for key, size in sizes.items() if b":label:" in key) == 50
    assert reader.receipt("default", "e449") is None


def test_a_lower_limit_holds_at_once(reader: RedisReader, redis_client: redis.Redis) -> None:
    labels = ("a", "b", None)
    RedisWriter(redis_client, recent=5000).write_predictions(encode_all([prediction(n, label=labels[n % 3]) for n in range(2500)]))
    # More are dropped than one call of Redis takes arguments.
    RedisWriter(redis_client, recent=7).write_predictions(encode_all([prediction(2500, label="a")]))
    assert [p.event_id for p in reader.predictions("default", limit=10).predictions] == [f"e{n}" for n in range(2500, 2493, -1)]
    assert [p.event_id for p in reader.predictions("default", label="b").predictions] == ["e2497", "e2494"]
    assert redis_client.hlen("millrace:default:predictions") == 7


def test_the_first_prediction_of_an_event_counts(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    writer.write_predictions(encode_all([prediction(1, label="a"), prediction(1, label="b", at=NOW + 99)]))
    before = dump(redis_client)
    writer.write_predictions(encode_all([prediction(1, label="b", at=NOW + 99)]))
    assert dump(redis_client) == before
    assert [p.label for p in reader.predictions("default").predictions] == ["a"]
    assert reader.predictions("default", label="b").predictions == []


def test_older_batches_written_again_change_nothing(writer: RedisWriter, redis_client: redis.Redis) -> None:
    batches = [[prediction(n, label=f"l{n % 3}") for n in range(start, start + 40)] for start in range(0, 200, 40)]
    states = [[state(10 * i + j, State.WAITING if i % 2 == 0 else State.TRAINED, event=f"e{j}", at=i) for j in range(10)] for i in range(6)]
    for batch, labels in zip(batches, states[1:], strict=True):
        writer.write_predictions(encode_all(batch))
        writer.write_label_states(labels)
    before = dump(redis_client)
    for batch, labels in zip(batches, states[1:], strict=True):
        writer.write_predictions(encode_all(batch))
        writer.write_label_states(labels)
    assert dump(redis_client) == before


def test_tasks_and_namespaces_are_apart(writer: RedisWriter, redis_client: redis.Redis) -> None:
    writer.write_predictions(encode_all([prediction(1, task="x"), prediction(2, task="y")]))
    RedisWriter(redis_client, recent=5, topic_prefix="shop-").write_predictions(encode_all([prediction(3, task="x")]))
    reader = RedisReader(redis_client)
    assert [p.event_id for p in reader.predictions("x").predictions] == ["e1"]
    assert [p.event_id for p in reader.predictions("y").predictions] == ["e2"]
    assert [p.event_id for p in RedisReader(redis_client, topic_prefix="shop-").predictions("x").predictions] == ["e3"]


def pages(reader: RedisReader, limit: int, after_each: Iterator[None], min_confidence: float = 0) -> list[str]:
    seen: list[str] = []
    cursor: Cursor | None = None
    while True:
        page = reader.predictions("default", limit=limit, after=cursor, min_confidence=min_confidence)
        seen += [p.event_id for p in page.predictions]
        if page.next is None:
            return seen
        cursor = Cursor.parse(page.next.text())
        next(after_each)


@pytest.mark.parametrize("same_time", [False, True])
@pytest.mark.parametrize("min_confidence", [0.0, 0.5])
def test_paging_is_stable_while_predictions_arrive(
    redis_client: redis.Redis, reader: RedisReader, same_time: bool, min_confidence: float
) -> None:
    writer = RedisWriter(redis_client, recent=1000)
    first = [prediction(n, at=NOW + n // 20 if same_time else None) for n in range(100)]
    writer.write_predictions(encode_all(first))
    expected = [p.event_id for p in reader.predictions("default", limit=1000).predictions]

    def arrivals() -> Iterator[None]:
        for number in range(100, 1000):
            late = [prediction(number, at=NOW + 1000 + number), prediction(number + 5000, at=NOW + 1000 + number)]
            writer.write_predictions(encode_all(late))
            yield

    assert pages(reader, 7, arrivals(), min_confidence) == expected
    assert len(expected) == 100


def test_a_cursor_outlives_its_prediction(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_predictions(encode_all([prediction(n) for n in range(50)]))
    page = reader.predictions("default", limit=10)
    writer.write_predictions(encode_all([prediction(n) for n in range(50, 75)]))
    rest = reader.predictions("default", limit=100, after=page.next)
    assert [p.event_id for p in rest.predictions] == [f"e{n}" for n in range(39, 24, -1)]
    assert rest.next is None


def test_receipts_move_forward_only(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    waiting, trained = state(3, State.WAITING, at=1), state(3, State.TRAINED, at=2, seq=7)
    writer.write_label_states([waiting, trained])
    before = dump(redis_client)
    writer.write_label_states([waiting])
    writer.write_label_states([trained, waiting, trained])
    assert dump(redis_client) == before
    receipt = reader.receipt("default", "e1")
    assert receipt is not None
    assert (receipt.state, receipt.seq, receipt.history, receipt.truth) == (State.TRAINED, 7, [waiting, trained], "a")


def test_receipts_do_not_depend_on_the_order_of_writing(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    states = [state(n // 2, State.WAITING if n % 2 == 0 else State.CORRECTED, at=n, seq=n) for n in range(2 * HISTORY)]
    writer.write_label_states(states)
    before = dump(redis_client)
    shuffled = random.Random(3).sample(states, len(states))
    for one in shuffled:
        writer.write_label_states([one])
    assert dump(redis_client) == before
    redis_client.flushall()
    for one in shuffled:
        writer.write_label_states([one])
    assert dump(redis_client) == before
    receipt = reader.receipt("default", "e1")
    assert receipt is not None
    assert receipt.history == states[-HISTORY:]


def test_a_correction_counts_and_a_duplicate_does_not(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_label_states([state(1, State.TRAINED, seq=1), state(2, State.DUPLICATE)])
    receipt = reader.receipt("default", "e1")
    assert receipt is not None
    assert (receipt.state, receipt.seq, receipt.label) == (State.TRAINED, 1, "a")
    writer.write_label_states([state(4, State.DUPLICATE), state(3, State.CORRECTED, seq=5, label="b")])
    receipt = reader.receipt("default", "e1")
    assert receipt is not None
    assert (receipt.state, receipt.seq, receipt.label, receipt.truth) == (State.CORRECTED, 5, "b", "b")


def test_a_long_comment_is_cut_in_receipts(writer: RedisWriter, reader: RedisReader) -> None:
    for n, comment in enumerate(["x" * COMMENT_SHOWN, "x" * (COMMENT_SHOWN + 1)]):
        writer.write_label_states([msgspec.structs.replace(state(n, State.MARKED, label=None), comment=comment)])
    receipt = reader.receipt("default", "e1")
    assert receipt is not None
    assert [one.comment for one in receipt.history] == ["x" * COMMENT_SHOWN, "x" * COMMENT_SHOWN + "…"]
    assert receipt.marked_wrong


def test_states_without_event_have_no_receipt(writer: RedisWriter, redis_client: redis.Redis) -> None:
    ref = FeedbackRef(at=Position(partition=0, offset=1))
    writer.write_label_states([LabelState(event_id=None, task=None, state=State.REJECTED, feedback=ref, time=NOW)])
    assert dump(redis_client) == {}


def aggregate(label: str, count: int, start: int, granularity: str = "minute", name: str = "predictions") -> Aggregate:
    return Aggregate(name=name, task="default", label=label, granularity=granularity, start=start, count=count)  # type: ignore[arg-type]  # values are of several kinds


def test_counts_are_absolute_and_expire(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    minute = NOW - NOW % 60_000
    old = minute - (COUNT_LIFETIME_MS["minute"] or 0) - 60_000
    batch = [aggregate("a", 1, minute), aggregate("a", 3, minute), aggregate(NO_LABEL, 2, minute), aggregate("b", 5, minute - 60_000)]
    for _ in range(2):
        writer.write_aggregates([*batch, aggregate("a", 9, old), aggregate("a", 12, 0, "total")])
    buckets = reader.counts("default", "predictions", "minute")
    assert [(b.start, b.counts) for b in buckets] == [(minute, {"a": 3, "": 2}), (minute - 60_000, {"b": 5})]
    assert reader.counts("default", "predictions", "total")[0].counts == {"a": 12}
    assert redis_client.zcard("millrace:default:counts:predictions:minute") == 2
    assert redis_client.ttl("millrace:default:counts:predictions:total:0") == -1
    left: Any = redis_client.pttl(f"millrace:default:counts:predictions:minute:{minute}")
    assert 0 < left <= 2 * 24 * 3600 * 1000


def test_label_states_count_down_as_well(writer: RedisWriter, reader: RedisReader) -> None:
    writer.write_aggregates([aggregate("waiting", 3, 0, "total", "label_states"), aggregate("trained", 1, 0, "total", "label_states")])
    writer.write_aggregates([aggregate("waiting", 0, 0, "total", "label_states"), aggregate("trained", 4, 0, "total", "label_states")])
    assert reader.label_states("default") == {"trained": 4, "waiting": 0}


def quality(seq: int, at: int) -> Quality:
    none = Scores(labels=seq, accuracy=0.5, macro_f1=0.1, log_loss=0.123456789012345, per_class={})
    version = ModelVersion(line="base", seq=seq)
    return Quality(task="default", time=NOW + at, model=version, model_time=NOW, overall=none, window=none, window_size=10)


def test_older_quality_does_not_replace_newer(writer: RedisWriter, reader: RedisReader) -> None:
    assert reader.quality("default") is None
    for one in (quality(2, 5), quality(1, 9), quality(2, 4)):
        writer.write_quality(one)
        assert reader.quality("default") == quality(2, 5)
    writer.write_quality(quality(3, 6))
    assert reader.quality("default") == quality(3, 6)


def trending(end: int, name: str, kind: NameKind = "word") -> Trending:
    items = [TrendingName(name=name, count=3, before=1, change=2)]
    return Trending(task="default", kind=kind, start=end - 600, end=end, slide_ms=60, items=items, total=9, total_before=7)


def test_an_older_window_of_names_does_not_replace_a_newer_one_and_writing_twice_is_harmless(
    writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis
) -> None:
    assert reader.trending("default", "word") is None
    windows = [trending(NOW, "a"), trending(NOW + 60, "b"), trending(NOW, "a", "mention")]
    for batch in (windows, windows, windows[:1], [*windows, trending(NOW - 60, "c")]):
        writer.write_trending(batch)
        assert reader.trending("default", "word") == windows[1]
        assert reader.trending("default", "mention") == windows[2]
    # Counted once more after a crash, the same window may hold more.
    writer.write_trending([trending(NOW + 60, "d")])
    assert reader.trending("default", "word") == trending(NOW + 60, "d")
    left: Any = redis_client.pttl("millrace:default:trending:word")
    assert 0 < left - (NOW + 60 + TRENDING_LIFETIME_MS - time.time() * 1000) + 1000 < 2000
    writer.write_trending([trending(NOW - TRENDING_LIFETIME_MS - 1000, "old", "hashtag")])
    assert reader.trending("default", "hashtag") is None, "one whose time has passed is not brought back"


def test_the_generation_tells_an_emptied_redis(writer: RedisWriter, reader: RedisReader, redis_client: redis.Redis) -> None:
    assert (writer.is_marked(), reader.generation()) == (False, None)
    writer.write_predictions(encode_all([prediction(1)]))
    assert not writer.is_marked(), "only whoever knows that all is there marks it"
    writer.begin_filling()
    redis_client.flushall()
    writer.mark()
    assert not writer.is_marked(), "it was emptied again while it was filled"
    writer.begin_filling()
    writer.mark()
    generation = reader.generation()
    writer.begin_filling()
    writer.mark()
    assert (writer.is_marked(), reader.generation()) == (True, generation)
    redis_client.flushall()
    assert not writer.is_marked()


def test_every_key_lies_in_the_namespace(redis_client: redis.Redis) -> None:
    writer = RedisWriter(redis_client, recent=5, topic_prefix="p.")
    writer.write_predictions(encode_all([prediction(1)]))
    writer.write_label_states([state(1, State.TRAINED)])
    writer.write_quality(quality(1, 1))
    writer.write_aggregates([aggregate("a", 1, NOW)])
    writer.write_trending([trending(NOW, "a")])
    writer.mark_job("classify", now=NOW)
    assert all(key.startswith(b"p.:") for key in redis_client.scan_iter())
    assert RedisReader(redis_client, topic_prefix="p.").job_seen("classify") == NOW


def test_no_redis_says_what_to_do(redis_part: Part, redis_client: redis.Redis) -> None:
    check_redis(redis_client)
    redis_part.stop()
    for ask in (
        lambda: check_redis(redis_client),
        lambda: RedisWriter(redis_client, recent=5).write_predictions(encode_all([prediction(1)])),
        lambda: RedisReader(redis_client).predictions("default"),
    ):
        with pytest.raises(RedisUnavailable, match="MILLRACE_REDIS"):
            ask()
    with pytest.raises(RedisUnavailable, match=r"me:\*\*\*@"):
        connect_redis("http://me:secret@host/0")


def test_a_writer_goes_on_after_redis_was_away(redis_part: Part, redis_client: redis.Redis, writer: RedisWriter) -> None:
    writer.write_predictions(encode_all([prediction(1)]))
    redis_part.stop()
    with pytest.raises(RedisUnavailable):
        writer.write_predictions(encode_all([prediction(2)]))
    redis_part.start()
    redis_part.wait_healthy()
    redis_client.flushall()
    writer.write_predictions(encode_all([prediction(2)]))
    reader = RedisReader(redis_client)
    assert [p.event_id for p in reader.predictions("default").predictions] == ["e2"]
