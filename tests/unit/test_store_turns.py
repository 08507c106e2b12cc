"""A lock that is handed on in turn, between real threads."""

from __future__ import annotations

import threading
import time

import pytest

from store.turns import NotYourTurn, Turns

pytestmark = pytest.mark.unit


def test_who_waits_comes_before_who_wants_it_again_at_once() -> None:
    """With a plain lock the busy thread, which holds it nearly all the time, keeps the other out for many of its turns."""
    turns, stop = Turns(), threading.Event()
    taken = 0

    def busy() -> None:
        nonlocal taken
        while not stop.is_set():
            with turns.taken():
                taken += 1
                time.sleep(0.001)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        while not taken:
            time.sleep(0.001)
        passed = []
        for _ in range(50):
            before = taken
            with turns.taken():
                passed.append(taken - before)
    finally:
        stop.set()
        thread.join()
    # The one in progress, and one that may have begun to wait before this thread did; nine times of ten, since the machine may take a
    # thread away between the count and the wait.
    assert sorted(passed)[45] <= 2


def test_one_that_does_not_want_to_wait_is_told() -> None:
    turns = Turns()
    with turns.taken():
        with pytest.raises(NotYourTurn), turns.taken(wait_s=0.001):
            pytest.fail("taken twice")
        waits = threading.Thread(target=lambda: turns.taken().__enter__())
        waits.start()
        while not turns._next.locked():
            time.sleep(0.001)
        with pytest.raises(NotYourTurn), turns.taken(wait_s=0.001):
            pytest.fail("taken before one who waits")
    waits.join(10)
    assert not waits.is_alive()


def test_an_error_lets_go_of_it() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.taken():
        _ = 1 // 0
    with turns.taken(wait_s=0):
        pass
