from collections import Counter

import msgspec
import pytest

from schemas.parsing import encode
from schemas.records import ModelVersion, Position, Prediction
from stack.newest_predictions import NewestPredictions
from stack.observe_redis import FRONT, Arrivals, RedisWatcher, passed_through, places_to_probe
from stack.recount import count_differences, newest_differences, roll_up, state_differences

pytestmark = pytest.mark.unit

NOW = 400 * 24 * 3_600_000
HOUR = 3_600_000


def prediction(number: int, **changes: object) -> Prediction:
    value = Prediction(
        label="a",
        proba={"a": 0.9},
        classes=2,
        model=ModelVersion(line="base", seq=3),
        event_id=f"e{number}",
        task="default",
        text=f"text {number}",
        meta={"n": number},
        event_ts=number,
        predicted_at=number,
        source=Position(partition=0, offset=number),
    )
    return msgspec.structs.replace(value, **changes)


def latest_first(*numbers: int) -> list[Prediction]:
    return [prediction(n) for n in sorted(numbers, reverse=True)]


def test_roll_up_counts_every_granularity_once() -> None:
    minutes = Counter({("a", NOW): 2, ("a", NOW + 60_000): 3, ("", NOW + HOUR): 1})
    counts = roll_up(minutes)
    for granularity in ("minute", "hour", "day", "total"):
        assert sum(n for (g, _, _), n in counts.items() if g == granularity) == 6
    assert counts["hour", NOW, "a"] == 5
    assert counts["day", NOW, ""] == 1


def test_equal_counts_do_not_differ_and_others_do() -> None:
    counts = roll_up({("a", NOW): 2})
    assert count_differences(counts, dict(counts), now=NOW) == []
    wrong = {**counts, ("minute", NOW, "a"): 3, ("hour", NOW, "b"): 1}
    assert count_differences(counts, wrong, now=NOW) == [
        f"hour predictions of 'b' from {NOW}: 0 in Kafka, 1 in Redis",
        f"minute predictions of 'a' from {NOW}: 2 in Kafka, 3 in Redis",
    ]


def test_what_redis_has_let_go_is_not_compared() -> None:
    old = NOW - 3 * 24 * HOUR
    counts = roll_up({("a", old): 2})
    redis = {bucket: n for bucket, n in counts.items() if bucket[0] != "minute"}
    assert count_differences(counts, redis, now=NOW) == []


def test_what_kafka_has_let_go_is_not_compared() -> None:
    kept = roll_up({("a", NOW): 2})
    redis = roll_up({("a", NOW): 2, ("a", NOW - 48 * HOUR): 5})
    assert count_differences(kept, redis, now=NOW) != []
    assert count_differences(kept, redis, now=NOW, retained_from=NOW) == []


def test_label_states() -> None:
    assert state_differences({"trained": 1}, {"trained": 1, "waiting": 0}) == []
    assert state_differences({}, {"waiting": 1}) == ["labels in state 'waiting': 0 in Kafka, 1 in Redis"]


def test_the_same_newest_predictions() -> None:
    assert newest_differences(latest_first(1, 2, 3), latest_first(1, 2, 3), text_shown=99) == []
    assert newest_differences([], [], text_shown=99) == []


def test_a_missing_one_a_foreign_one_and_another_body() -> None:
    redis = latest_first(1, 2, 5)
    redis[1] = prediction(2, label="b", text="other")
    assert newest_differences(latest_first(1, 2, 3), redis, text_shown=99) == [
        "prediction of e2: its text differs",
        "prediction of e2: label is 'a' in Kafka, 'b' in Redis",
        "prediction of e3: not among the newest in Redis",
        "prediction of e5: in Redis, not among the newest in Kafka",
    ]


def test_a_shortened_text_is_the_same() -> None:
    long, shown = prediction(1, text="x" * 50), prediction(1, text="x" * 11)
    assert newest_differences([long], [shown], text_shown=10) == []
    assert newest_differences([long], [prediction(1, text="y" * 11)], text_shown=10) == ["prediction of e1: its text differs"]


def newest(*predictions: Prediction, newest: int = 3, recent: int = 100) -> tuple[list[Prediction], set[str]]:
    kept = NewestPredictions(newest=newest, recent=recent)
    for p in predictions:
        kept.add(p.event_id, p.predicted_at, encode(p))
    return kept.read()


def test_of_an_event_predicted_twice_the_first_prediction_counts() -> None:
    second = prediction(1, predicted_at=9, label="b")
    found, open_ids = newest(prediction(1), prediction(2), prediction(3), second)
    assert (found, open_ids) == (latest_first(1, 2, 3), set())
    assert newest_differences(found, [second, *latest_first(2, 3)], text_shown=99, open_ids=open_ids) == [
        "prediction of e1: label is 'a' in Kafka, 'b' in Redis",
        "prediction of e1: predicted_at is 1 in Kafka, 9 in Redis",
    ]


def test_a_second_prediction_does_not_count_either_when_the_first_is_no_longer_among_the_newest() -> None:
    found, open_ids = newest(*(prediction(n) for n in range(1, 21)), prediction(2, predicted_at=30))
    assert (found, open_ids) == (latest_first(18, 19, 20), set())


def test_an_event_whose_first_prediction_may_have_left_redis_is_left_open() -> None:
    second = prediction(2, predicted_at=30)
    found, open_ids = newest(*(prediction(n) for n in range(1, 21)), second, recent=5)
    assert open_ids == {"e2"}
    for shown in ([second, *latest_first(19, 20)], latest_first(18, 19, 20)):
        assert newest_differences(found, shown, text_shown=99, open_ids=open_ids) == []


def test_nothing_predicted_is_nothing_new() -> None:
    assert newest() == ([], set())


def test_probing_finds_a_front_that_lies_far_behind() -> None:
    places = places_to_probe(10_000)
    assert places[:FRONT] == list(range(FRONT))
    assert places[-1] == 9_999
    assert places == sorted(set(places))
    assert passed_through([]) == passed_through([False]) == 0


class SortedSet:
    """The three commands of Redis that the watcher uses, over a dict; the watcher meets the real one in the integration tests."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}

    def zmscore(self, _key: str, members: list[str]) -> list[float | None]:
        return [self.scores.get(m) for m in members]

    def zcard(self, _key: str) -> int:
        return len(self.scores)

    def zrange(self, _key: str, _start: int, _end: int, *, withscores: bool) -> list[tuple[str, float]]:
        assert withscores
        return sorted(self.scores.items(), key=lambda item: item[1])[:1]


def test_the_watcher_notes_each_once_and_does_not_wait_for_what_was_dropped() -> None:
    redis, arrivals = SortedSet(), Arrivals()
    watcher = RedisWatcher(redis, "key", "r", arrivals, recent=2)  # type: ignore[arg-type]  # all it needs is zmscore
    for number in range(5):
        arrivals.add(number % 2, number, predicted_at=number)
    assert watcher.poll() is False
    redis.scores = {"r-0": 0.0}
    assert watcher.poll() is False
    assert list(watcher.visible_n) == [0]
    redis.scores = {"r-3": 3.0, "r-4": 4.0}
    while watcher.poll():
        pass
    assert watcher.passed == 5
    assert sorted(watcher.visible_n) == [0, 1, 2, 3, 4]
