"""How often: windows that slide, callers that do not disturb each other, and memory that does not grow with them."""

from __future__ import annotations

import threading
import time
import tracemalloc

import pytest

from api.access import limits
from api.access.limits import WINDOW_S, Limits
from api.access.roles import Caller
from api.problems import Problem

pytestmark = pytest.mark.unit


class Clock:
    """Moves the clocks that the limits and their library read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def caller(name: str | None = "ana", *, address: str = "192.0.2.1", requests_per_s: int | None = None) -> Caller:
    return Caller(name, frozenset(), address, requests_per_s)


def taken(limit: Limits, who: Caller, tries: int) -> int:
    """How many of so many requests get through."""
    through, refused = 0, list[Problem]()
    for _ in range(tries):
        try:
            limit.take_request(who)
            through += 1
        except Problem as problem:
            refused.append(problem)
    assert all(problem.status == 429 and int(problem.headers["Retry-After"]) >= 1 for problem in refused)
    return through


def test_a_burst_gets_a_windows_worth_and_then_the_rate(clock: Clock) -> None:
    limit = Limits(5, 0)
    assert taken(limit, caller(), 100) == 5 * WINDOW_S
    total = 0
    for _ in range(10 * WINDOW_S):
        clock.now += 1
        total += taken(limit, caller(), 50)
    assert 0.8 * 5 <= total / (10 * WINDOW_S) <= 5


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_after_the_time_that_was_told_there_is_room(clock: Clock, part: float) -> None:
    clock.now += part * WINDOW_S
    limit = Limits(3, 40)
    taken(limit, caller(), 100)
    with pytest.raises(Problem) as caught:
        limit.take_request(caller())
    clock.now += int(caught.value.headers["Retry-After"])
    limit.take_request(caller())
    limit.take_items(caller(), 400)
    with pytest.raises(Problem) as caught:
        limit.take_items(caller(), 40)
    assert int(caught.value.headers["Retry-After"]) <= 2 * WINDOW_S
    clock.now += int(caught.value.headers["Retry-After"])
    limit.take_items(caller(), 1)


def test_many_threads_count_together_and_none_too_much() -> None:
    limit, results = Limits(50, 0), list[int]()
    threads = [threading.Thread(target=lambda: results.append(taken(limit, caller(), 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A window may end meanwhile.
    assert 500 <= sum(results) <= 800


def test_callers_do_not_disturb_each_other_and_a_key_counts_as_one_wherever_it_is(clock: Clock) -> None:
    limit = Limits(1, 0)
    assert taken(limit, caller("ana", address="192.0.2.1"), 7) + taken(limit, caller("ana", address="192.0.2.2"), 7) == WINDOW_S
    assert taken(limit, caller("bob"), 20) == WINDOW_S
    assert taken(limit, caller(None), 20) == WINDOW_S
    assert taken(limit, caller(None, address="192.0.2.9"), 20) == WINDOW_S
    # A key that is named like an address is still another caller.
    assert taken(limit, caller("192.0.2.1"), 20) == WINDOW_S


def test_a_key_may_have_a_limit_of_its_own(clock: Clock) -> None:
    assert taken(Limits(1, 0), caller(requests_per_s=3), 100) == 3 * WINDOW_S
    assert taken(Limits(0, 0), caller(requests_per_s=3), 100) == 3 * WINDOW_S
    assert taken(Limits(0, 0), caller(), 100) == 100


def test_records_count_one_by_one_and_none_of_those_that_are_refused(clock: Clock) -> None:
    limit = Limits(0, 10)
    limit.take_items(caller(), 60)
    with pytest.raises(Problem, match="nothing was accepted"):
        limit.take_items(caller(), 41)
    limit.take_items(caller(), 40)
    with pytest.raises(Problem) as caught:
        limit.take_items(caller("bob"), 101)
    assert (caught.value.status, "send at most 100" in caught.value.detail) == (413, True)


def test_many_addresses_take_no_more_memory_and_cannot_push_others_out(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADDRESSES_MAX", 100)
    limit = Limits(1, 0)
    regular = caller(None, address="192.0.2.1")
    assert taken(limit, regular, 20) == WINDOW_S
    for number in range(99):
        assert taken(limit, caller(None, address=f"2001:db8::{number:x}"), 1) == 1
    # The next ones share a window, so that a flood from everywhere meets a limit as well.
    assert sum(taken(limit, caller(None, address=f"2001:db8:1::{number:x}"), 1) for number in range(1000)) == WINDOW_S
    assert taken(limit, regular, 5) == 0
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    for number in range(20_000):
        taken(limit, caller(None, address=f"2001:db8:2::{number:x}"), 1)
    grown = sum(one.size_diff for one in tracemalloc.take_snapshot().compare_to(before, "filename"))
    tracemalloc.stop()
    assert grown < 200_000
    clock.now += 3 * WINDOW_S
    assert taken(limit, caller(None, address="2001:db8:3::1"), 3) == 3
    assert len(limit._storage) == 1, "what counts no more is forgotten"
