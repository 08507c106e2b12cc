"""The recent index on a real Redis: it comes to hold what Redis keeps, whatever happens to either, and the API asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import httpx
import pytest
import redis

from schemas.parsing import encode
from schemas.records import FeedbackRef, LabelState, Position, State
from schemas.settings import Settings
from stack.process import Part
from store.reader import RedisReader
from store.receipt import Receipt
from store.recent import following
from store.recent import index as recent_index
from store.recent.index import NotIndexed, RecentIndex
from store.recent.places import Place
from store.recent.queries import Filter
from store.recent.rows import Recent
from store.writer import RedisWriter
from tests.recent_rows import prediction

pytestmark = pytest.mark.integration

RECENT = 500
Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]
NOW = int(time.time() * 1000)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def label(event_id: str, kind: State, offset: int, text: str | None = "a") -> LabelState:
    return LabelState(
        event_id=event_id, task="default", state=kind, feedback=FeedbackRef(at=Position(partition=0, offset=offset)), label=text, time=NOW
    )


@pytest.fixture
def settings(redis_part: Part) -> Settings:
    return Settings(redis=f"redis://{redis_part.address}/0", kafka="127.0.0.1:1", tasks=("default", "mood"), recent_predictions=RECENT)


@pytest.fixture
def writer(redis_client: redis.Redis) -> RedisWriter:
    return RedisWriter(redis_client, recent=RECENT)


@pytest.fixture
def index(settings: Settings) -> Iterator[RecentIndex]:
    made = RecentIndex(settings)
    yield made
    made.close()


def write(writer: RedisWriter, start: int, end: int, *, task: str = "default", at: int | None = None) -> None:
    writer.write_predictions([encode(prediction(f"e{n}", NOW + n if at is None else at, task=task)) for n in range(start, end)])


def rows(index: RecentIndex, task: str = "default") -> dict[str, Recent]:
    found: dict[str, Recent] = {}
    after: Place | None = None
    while True:
        page = index.page(task, Filter(), limit=200, after=after)
        found |= {row.prediction.event_id: row for row in page.rows}
        after = page.next
        if after is None:
            return found


def is_the_same(index: RecentIndex, client: redis.Redis) -> bool:
    """Whether the index holds exactly what Redis does."""
    reader = RedisReader(client)
    for task in ("default", "mood"):
        kept = [p.event_id for p in reader.predictions(task, limit=RECENT * 2).predictions]
        try:
            held = rows(index, task)
        except NotIndexed:
            return False
        receipts: Sequence[Receipt | None] = reader.receipts(task, kept)
        states = {event: receipt.state if receipt else None for event, receipt in zip(kept, receipts, strict=True)}
        if {event: row.marks.state for event, row in held.items()} != states:
            return False
        if index.indexed(task).events != len(kept):
            return False
    return True


def test_it_fills_follows_and_forgets_as_redis_does(index: RecentIndex, writer: RedisWriter, redis_client: redis.Redis) -> None:
    write(writer, 0, 450)
    write(writer, 0, 3, task="mood")
    writer.write_label_states([label("e10", State.WAITING, 1)])
    with pytest.raises(NotIndexed):
        index.page("default", Filter(), limit=1)
    heard: list[str] = []
    end = index.subscribe(lambda task, new: heard.extend(f"{task} {row.prediction.event_id}" for row in new))
    index.start()
    wait_until(lambda: is_the_same(index, redis_client), "filled")
    assert heard == [], "what was there before is not new"
    # A label of what is here, of what comes with it, a late prediction, and the oldest have to go.
    writer.write_label_states([label("e10", State.TRAINED, 1), label("late", State.WAITING, 2), label("e600", State.WAITING, 3)])
    write(writer, 450, 700)
    writer.write_predictions([encode(prediction("late", NOW + 300))])
    wait_until(lambda: is_the_same(index, redis_client), "followed")
    assert heard == [f"default e{n}" for n in range(450, 700)] + ["default late"]
    assert (rows(index)["late"].marks.reviewed, rows(index)["e600"].marks.state) == (True, State.WAITING)
    indexed = index.indexed("default")
    assert (indexed.events, indexed.newest, indexed.complete, indexed.stale_since) == (RECENT, NOW + 699, True, None)
    end()
    write(writer, 700, 701)
    wait_until(lambda: "e700" in rows(index), "followed")
    assert heard[-1] == "default late"


def test_what_was_written_before_there_were_streams_is_found_too(
    index: RecentIndex, writer: RedisWriter, redis_client: redis.Redis
) -> None:
    write(writer, 0, 300)
    redis_client.delete("millrace:default:predictions:arrived")
    write(writer, 300, 400)
    index.start()
    wait_until(lambda: is_the_same(index, redis_client), "found")
    wait_until(lambda: index.indexed("default").complete, "complete")


def test_redis_away_and_back_empty_and_another(
    index: RecentIndex, writer: RedisWriter, redis_client: redis.Redis, redis_part: Part
) -> None:
    writer.begin_filling()
    writer.mark()
    write(writer, 0, 100)
    index.start()
    wait_until(lambda: is_the_same(index, redis_client), "filled")
    redis_part.stop()
    wait_until(lambda: index.indexed("default").stale_since, "stale")
    assert len(rows(index)) == 100, "what it has it goes on to answer"
    redis_part.start()
    redis_part.wait_healthy()
    redis_client.flushall()
    wait_until(lambda: index.indexed("default").stale_since is None, "there again")
    wait_until(lambda: is_the_same(index, redis_client), "empty")
    writer.begin_filling()
    write(writer, 50, 60)
    writer.mark()
    wait_until(lambda: is_the_same(index, redis_client), "another")
    # Emptied without a mark that would change: the streams tell.
    redis_client.flushall()
    write(writer, 0, 5)
    wait_until(lambda: is_the_same(index, redis_client), "emptied")


def test_far_behind_it_jumps_and_comes_to_hold_all(
    index: RecentIndex, writer: RedisWriter, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BATCH", 10)
    monkeypatch.setattr(following, "BEHIND_MS", 1)
    monkeypatch.setattr(following, "MOST_GAPS", 3)
    write(writer, 0, 200)
    index.start()
    wait_until(lambda: index.is_filled("default"), "filled")
    gaps: list[int] = []
    index.subscribe(lambda *_: gaps.append(len(index._followers["default"]._predictions.gaps)))
    for start in range(200, 900, 20):
        write(writer, start, start + 20)
        writer.write_label_states([label(f"e{n}", State.WAITING, n) for n in range(start - 40, start)])
    wait_until(lambda: is_the_same(index, redis_client), "all of it in the end")
    wait_until(lambda: index.indexed("default").complete, "complete")
    assert max(gaps, default=0) <= 3


def test_it_rests_longer_where_much_waits_and_the_processors_are_busy(
    settings: Settings, writer: RedisWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = True
    index = RecentIndex(settings, crowded=lambda: crowded)
    write(writer, 0, 2 * following.BATCH)
    index._step()
    index._step()
    assert index._rest_s(1.0) == recent_index.REST, "it is not filled"
    while index._step():
        pass
    assert index._rest_s(1.0) == recent_index.REST, "nothing waits"
    write(writer, 2 * following.BATCH, 4 * following.BATCH)
    index._step()
    assert index._rest_s(1.0) > recent_index.REST
    crowded = False
    assert index._rest_s(1.0) == recent_index.REST
    index.close()


def test_labels_that_the_stream_has_forgotten_are_read_again(
    index: RecentIndex, writer: RedisWriter, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(writer, 0, 300)
    writer.write_label_states([label("e0", State.WAITING, 0)])
    index.start()
    wait_until(lambda: is_the_same(index, redis_client), "filled")
    take = threading.Lock()
    look = index._arrivals.look

    def held(heads: dict[str, tuple[int, int]], most: int) -> object:
        with take:
            return look(heads, most)

    monkeypatch.setattr(index._arrivals, "look", held)
    with take:
        writer.write_label_states([label(f"e{n}", State.WAITING, n) for n in range(1, 300)])
        # What the stream remembers is bounded: the first of them are gone from it.
        redis_client.xtrim("millrace:default:labels:arrived", maxlen=5, approximate=False)
    wait_until(lambda: is_the_same(index, redis_client), "read again")


@pytest.fixture
def filled(api: httpx.Client, writer: RedisWriter) -> httpx.Client:
    """The API over 60 predictions, all of them indexed."""
    for n in range(60):
        made = prediction(
            f"e{n}", NOW + n, text=f"refund number {n}" if n % 2 else "東京 card", proba={"a": n / 100, "b": 0.3}, line=f"r{n % 3}"
        )
        writer.write_predictions([encode(made)])
    writer.write_label_states([label("e7", State.TRAINED, 1, "b"), label("e8", State.MARKED, 2, None), label("e9", State.REJECTED, 3)])
    wait_until(lambda: api.get("/v1/predictions", params={"reviewed": True}).json().get("predictions", [])[1:], "indexed")
    return api


def test_filters_search_and_ranking(filled: httpx.Client) -> None:
    def ids(**query: str | float | bool) -> list[str]:
        answer = filled.get("/v1/predictions", params=query)
        assert answer.status_code == 200, answer.text
        return [p["event_id"] for p in answer.json()["predictions"]]

    assert ids(limit=2) == ["e59", "e58"]
    assert ids(reviewed="true") == ["e8", "e7"]
    assert ids(state="rejected") == ["e9"]
    assert len(ids(reviewed="false", limit=100)) == 58
    assert ids(since=NOW + 10, until=NOW + 12) == ["e11", "e10"]
    assert ids(line="r1", max_confidence=0.05) == ["e4", "e1"]
    assert ids(min_confidence=0.57, q="card") == ["e58"]
    assert ids(q='"number 7"') == ["e7"]
    assert ids(q="refund -number") == []
    assert ids(q="numb* 東京") == []
    assert ids(q=" ", limit=1) == ["e59"]
    assert ids(sort="score", label="a", limit=2) == ["e59", "e58"]
    assert ids(sort="score", label="b", q="card", reviewed="true") == ["e8"]
    assert ids(sort="score", label="unknown") == []
    (shown,) = filled.get("/v1/predictions", params={"q": '"number 7"'}).json()["predictions"]
    assert (shown["label_state"], shown["truth"], shown["correct"], shown["reviewed"], shown["marked_wrong"]) == (
        "trained",
        "b",
        False,
        True,
        False,
    )
    (marked,) = filled.get("/v1/predictions", params={"state": "marked"}).json()["predictions"]
    assert (marked["truth"], marked["correct"], marked["reviewed"], marked["marked_wrong"]) == (None, None, True, True)
    plain = {p["event_id"]: p for p in filled.get("/v1/predictions", params={"limit": 100}).json()["predictions"]}
    assert (plain["e7"], plain["e8"]) == (shown, marked), "by Redis or by the index: the same"


def test_pages_of_the_index(filled: httpx.Client) -> None:
    queries: list[dict[str, str | float]] = [{"max_confidence": 1.0}, {"sort": "score", "label": "b"}, {"q": "card"}]
    for query in queries:
        whole = [p["event_id"] for p in filled.get("/v1/predictions", params={**query, "limit": 1000}).json()["predictions"]]
        seen: list[str] = []
        params: dict[str, str | float] = {**query, "limit": 7}
        while True:
            page = filled.get("/v1/predictions", params=params).json()
            seen += [p["event_id"] for p in page["predictions"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        assert seen == whole


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"sort": "score"}, "label"),
        ({"sort": "score", "label": ""}, "label"),
        ({"sort": "best"}, "sort"),
        ({"min_confidence": 0.5, "max_confidence": 0.4}, "max_confidence"),
        ({"since": 5, "until": 5}, "until"),
        ({"since": -1}, "since"),
        ({"state": "nothing"}, "state"),
        ({"reviewed": "perhaps"}, "reviewed"),
        ({"q": "-only"}, "q"),
        ({"q": "***"}, "q"),
        ({"q": "x" * 1025}, "q"),
        ({"q": "x", "cursor": "rubbish"}, "cursor"),
        ({"q": "x", "cursor": Place(5, 0.5).text()}, "cursor"),
        ({"sort": "score", "label": "a", "cursor": Place(5).text()}, "cursor"),
    ],
)
def test_what_cannot_be_asked_is_named(api: httpx.Client, query: dict[str, str | float], field: str) -> None:
    answer = api.get("/v1/predictions", params=query)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_without_redis_a_search_is_a_503_with_advice(redis_part: Part, settings: Settings, serve: Serve) -> None:
    redis_part.stop()
    with serve(settings) as api:
        wait_until(lambda: "MILLRACE_REDIS" in api.get("/v1/predictions?q=card").json()["detail"], "advice")
        assert "MILLRACE_REDIS" in api.get("/v1/predictions").json()["detail"]
        assert (api.get("/v1/predictions?q=card").status_code, api.get("/v1/predictions").status_code) == (503, 503)


def test_the_index_answers_while_redis_is_away(filled: httpx.Client, redis_part: Part) -> None:
    by_redis = filled.get("/v1/predictions", params={"limit": 5}).json()
    redis_part.stop()
    wait_until(lambda: filled.get("/v1/predictions", params={"q": "card"}).json()["indexed"]["stale_since"], "stale")
    page = filled.get("/v1/predictions", params={"limit": 5}).json()
    assert page["predictions"] == by_redis["predictions"]
    assert [p["event_id"] for p in filled.get("/v1/predictions", params={"limit": 5, "cursor": page["next"]}).json()["predictions"]] == [
        f"e{n}" for n in range(54, 49, -1)
    ]
    answer = filled.get("/v1/predictions", params={"limit": 5, "cursor": by_redis["next"]})
    assert answer.status_code == 503
