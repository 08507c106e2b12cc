"""A watch knows since when a part is ready, and until when it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from api import watch
from api.watch import Watch
from store.connect import KafkaUnavailable

pytestmark = pytest.mark.unit


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_since_when_it_is_ready_and_until_when_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ASK_AGAIN_S", 0.005)
    now, away, asked = [1.0], [True], [0]

    def ask() -> str:
        asked[0] += 1
        if away[0]:
            raise KafkaUnavailable("gone")
        return "here"

    def seen() -> tuple[bool | None, str, int | None]:
        before = asked[0]
        until(lambda: asked[0] > before + 2)
        part = one.part()
        return part.ready, part.detail, part.since

    one = Watch("it", ask, lambda: now[0])
    assert one.part().ready is None
    one.start()
    try:
        assert seen() == (False, "gone", None)
        away[0], now[0] = False, 2.0
        assert seen() == (True, "here", 2000)
        now[0] = 3.0
        assert seen() == (True, "here", 2000)
        away[0], now[0] = True, 4.0
        assert seen() == (False, "gone", 3000)
        now[0] = 5.0
        assert seen() == (False, "gone", 3000)
    finally:
        one.close()
    assert one.has_ended


def test_one_that_hangs_counts_as_away_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE_S", 0.05)
    answer = threading.Event()

    def ask() -> str:
        answer.wait(30)
        return "at last"

    one = Watch("Kafka", ask)
    one.start()
    try:
        until(lambda: one.part().ready is False)
        assert "Kafka has not answered for" in one.part().detail
        answer.set()
        until(lambda: one.part().ready is True)
    finally:
        one.close()
