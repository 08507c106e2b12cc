"""Receipts and cursors, without Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import FeedbackRef, LabelState, Position, State
from store.cursor import Cursor, InvalidCursor
from store.receipt import Receipt
from store.recent.rows import Marks

pytestmark = pytest.mark.unit


def state(offset: int, kind: State, seq: int | None = None, label: str | None = "a", feedback_id: str | None = None) -> LabelState:
    ref = FeedbackRef(at=Position(partition=0, offset=offset), feedback_id=feedback_id)
    return LabelState(event_id="e", task="default", state=kind, feedback=ref, label=label, seq=seq, time=offset)


@pytest.mark.parametrize(
    ("history", "expected", "truth"),
    [
        ([state(1, State.WAITING)], (State.WAITING, None, "a"), None),
        ([state(1, State.WAITING), state(1, State.TRAINED, 4)], (State.TRAINED, 4, "a"), "a"),
        ([state(1, State.TRAINED, 4), state(2, State.DUPLICATE)], (State.TRAINED, 4, "a"), "a"),
        ([state(1, State.TRAINED, 4), state(2, State.CORRECTED, 9, "b")], (State.CORRECTED, 9, "b"), "b"),
        ([state(1, State.TRAINED, 4), state(2, State.REJECTED, None, None)], (State.TRAINED, 4, "a"), "a"),
        ([state(1, State.REJECTED, None, None)], (State.REJECTED, None, None), None),
        ([state(1, State.WAITING), state(1, State.ORPHAN)], (State.ORPHAN, None, "a"), None),
        ([state(1, State.MARKED, 4, None)], (State.MARKED, 4, None), None),
        ([state(1, State.TRAINED, 4), state(2, State.MARKED, None, None)], (State.MARKED, None, None), "a"),
        ([state(1, State.MARKED, 4, None), state(2, State.TRAINED, 5, "b")], (State.TRAINED, 5, "b"), "b"),
    ],
)
def test_the_label_that_counts(history: list[LabelState], expected: tuple[State, int | None, str | None], truth: str | None) -> None:
    receipt = Receipt.of(history)
    assert (receipt.state, receipt.seq, receipt.label) == expected
    assert receipt.truth == truth


WRONG = state(1, State.MARKED, 4, None)


@pytest.mark.parametrize(
    ("history", "marked"),
    [
        ([WRONG], True),
        ([state(1, State.WAITING, None, None), WRONG], True),
        ([state(1, State.WAITING, None, None)], False),
        ([WRONG, state(2, State.DUPLICATE, None, None)], True),
        ([WRONG, state(2, State.WAITING, None, "b")], True),
        ([WRONG, state(2, State.EXPIRED, None, "b"), state(3, State.REJECTED, None, None)], True),
        ([WRONG, state(2, State.TRAINED, 5, "b")], False),
        ([WRONG, state(2, State.TRAINED, 5, "a"), state(3, State.MARKED, None, None)], True),
        ([state(0, State.TRAINED, 3), WRONG, state(2, State.CORRECTED, 5, "b")], False),
        ([state(0, State.TRAINED, 3), WRONG, state(2, State.DUPLICATE, None, "a")], False),
        ([state(0, State.TRAINED, 3, "a", "f"), WRONG, state(2, State.DUPLICATE, None, "a", "f")], True),
        ([state(0, State.TRAINED, 3, "a", "f"), WRONG, state(2, State.DUPLICATE, None, "a", "g")], False),
        ([state(0, State.TRAINED, 3, "b"), state(1, State.DUPLICATE, None, None)], False),
    ],
)
def test_a_wrong_stands_until_a_label_comes(history: list[LabelState], marked: bool) -> None:
    assert Receipt.of(history).marked_wrong is marked
    assert Marks.of(Receipt.of(history)).marked_wrong is marked


def test_no_history_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Receipt.of([])


@given(st.integers(0, 2**53 - 1), st.binary(max_size=1024))
def test_cursors_round_trip(time: int, event_id: bytes) -> None:
    text = Cursor(time, event_id).text()
    assert text.isascii()
    assert Cursor.parse(text) == Cursor(time, event_id)


@given(st.text() | st.binary().map(lambda b: b.hex()))
def test_anything_else_is_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except InvalidCursor:
        return
    assert Cursor.parse(cursor.text()) == cursor
