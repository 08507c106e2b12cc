"""A client of the live events: its share, its queue, which is bounded, and the ids by which it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live import client as module
from api.live.client import QUEUE_BYTES, QUEUE_EVENTS, Client, Kind, Wanted
from api.live.events import ALIVE, EventId, event
from store.recent.rows import NO_MARKS, Recent
from tests.recent_rows import prediction

pytestmark = pytest.mark.unit

ALL: frozenset[Kind] = frozenset({"prediction", "counts", "quality"})


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def rows(start: int, end: int, label: str = "a") -> list[Recent]:
    return [Recent(prediction=prediction(f"e{n}", n, proba={label: 0.5}), marks=NO_MARKS, arrived=n) for n in range(start, end)]


def encoded(row: Recent) -> bytes:
    return b'{"n":%d}' % row.arrived


async def given_out(client: Client) -> list[tuple[str, str, Any]]:
    """Id, kind and data of all that waits, after which the client is over."""
    client.end()
    found = []
    async for chunk in client.chunks():
        lines = dict(line.split(": ", 1) for line in chunk.decode().strip().split("\n"))
        found.append((lines["id"], lines["event"], msgspec.json.decode(lines["data"])))
    return found


def made(rate: float = 20.0, clock: Clock | None = None, **more: object) -> Client:
    wanted = msgspec.convert({"task": "default", "kinds": ["prediction", "counts", "quality"], "max_per_second": rate, **more}, Wanted)
    return Client(wanted, EventId(0, "g"), clock=clock or Clock())


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 5)), max_size=12), st.sampled_from([0.1, 1.0, 7.5, 20.0, 100.0]))
def test_every_prediction_is_told_or_counted_and_never_more_than_may_be(batches: Sequence[tuple[int, float]], rate: float) -> None:
    async def run() -> None:
        clock, seen, began = Clock(), 0, 100.0
        client = made(rate, clock)
        for size, pause in batches:
            clock.now += pause
            client.predictions(rows(seen + 1, seen + size + 1), EventId(seen + size, "g"), encoded)
            seen += size
        clock.now += 1000
        client.predictions(rows(seen + 1, seen + 2), EventId(seen + 1, "g"), encoded)
        told = await given_out(client)
        if told[-1][1] == "dropped":
            return
        numbers = [data["n"] for _, _, data in told]
        assert numbers == sorted(set(numbers))
        assert len(told) + sum(data["passed_over"] for _, _, data in told) == seen + 1
        assert len(told) - 1 <= rate * (clock.now - 1000 - began) + max(1.0, rate / 2)
        assert [place for place, _, _ in told] == [f"{n}.g" for n in numbers]

    asyncio.run(run())


def test_a_slow_client_is_told_and_let_go_and_never_holds_more_than_its_bounds() -> None:
    async def run() -> None:
        clock = Clock()
        client = made(100.0, clock)
        most = (0, 0)
        for start in range(1, 100_000, 100):
            clock.now += 1
            client.predictions(rows(start, start + 100), EventId(start + 99, "g"), encoded)
            most = max(most[0], client.queued[0]), max(most[1], client.queued[1])
        assert most[0] <= QUEUE_EVENTS
        assert most[1] <= QUEUE_BYTES
        assert client.is_over
        ((_, kind, data),) = await given_out(client)
        assert kind == "dropped"
        assert "too slow" in str(data["reason"])

    asyncio.run(run())


def test_large_events_fill_the_queue_by_their_bytes() -> None:
    async def run() -> None:
        client = made()
        for number in range(50):
            client.take("counts", b'"%b"' % (b"x" * 30_000), EventId(number, "g"))
        assert client.is_over
        ((place, kind, _),) = await given_out(client)
        assert (place, kind) == ("0.g", "dropped")

    asyncio.run(run())


def test_counts_and_quality_come_when_they_have_changed_and_are_wanted() -> None:
    async def run() -> None:
        client = made(kinds=["counts"])
        for value in (1, 1, 2, 2, 1):
            client.changed("counts", value, b"%d" % value)
            client.changed("quality", value, b"%d" % value)
        assert [data for _, _, data in await given_out(client)] == [1, 2, 1]

    asyncio.run(run())


def test_what_comes_while_it_is_looked_up_what_was_missed_is_kept() -> None:
    async def run() -> None:
        client = made(100.0)
        client.hold()
        client.predictions(rows(1, 6), EventId(5, "g"), encoded)
        client.at = EventId(3, "g")
        client.predictions(client.resume(), EventId(5, "g"), encoded)
        client.predictions(rows(6, 7), EventId(6, "g"), encoded)
        assert [place for place, _, _ in await given_out(client)] == ["4.g", "5.g", "6.g"]

    asyncio.run(run())


def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.01)

    async def run() -> None:
        client = made()
        chunks = client.chunks()
        assert [await anext(chunks), await anext(chunks)] == [ALIVE, ALIVE]
        client.take("counts", b"1", EventId(1, "g"))
        assert await anext(chunks) == b"id: 1.g\nevent: counts\ndata: 1\n\n"

    asyncio.run(run())


def test_a_connection_does_not_outlive_its_time() -> None:
    async def run() -> None:
        clock = Clock()
        client = made(clock=clock)
        client.take("counts", b"1", EventId(1, "g"))
        clock.now += module.LIFETIME_S
        assert [chunk async for chunk in client.chunks()] == [b"id: 1.g\nevent: counts\ndata: 1\n\n"]

    asyncio.run(run())


def test_which_predictions_match() -> None:
    found = [*rows(1, 3), *rows(3, 5, "b"), Recent(prediction=prediction("none", 9, proba={}), marks=NO_MARKS, arrived=9)]

    def matching(**which: object) -> list[int]:
        return [row.arrived for row in made(**which).wanted.matching(found)]  # type: ignore[arg-type]  # one of several fields

    assert matching() == [1, 2, 3, 4, 9]
    assert matching(label="b") == [3, 4]
    assert matching(label="") == [9]
    assert matching(min_confidence=0.5) == [1, 2, 3, 4]
    assert matching(min_confidence=0.6) == []


@pytest.mark.parametrize("text", ["", "5", ".", "x.g", "-1.g", "١.g", "9" * 20 + ".g"])
def test_what_is_no_id_of_ours(text: str) -> None:
    assert EventId.parse(text) is None
    assert event("x", b"1", EventId(0, "")) == b"id: 0.\nevent: x\ndata: 1\n\n"
