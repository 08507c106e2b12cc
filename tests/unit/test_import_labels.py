"""From the row of a file to a self-contained label, and what is known of the labels that were sent."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.parsing import RejectRecord
from schemas.records import Feedback, Meta, Position, State
from schemas.settings import Settings
from stack.cli import main
from stack.import_labels import Plan, to_label
from stack.imported import Imported
from store.import_ids import import_id
from store.labelled_files import Row

pytestmark = pytest.mark.unit

SETTINGS = Settings(tasks=("default", "mood"), max_text_bytes=10)
PLAN = Plan(task="mood", source="crm")


def label(row: Row) -> Feedback:
    return to_label(row, PLAN, SETTINGS)


def test_a_row_becomes_a_self_contained_label() -> None:
    made = label(Row("hi", "x", 5, {"event_id": "e1", "weight": 0.5, "split": "train"}))
    assert made == Feedback(event_id="e1", label="x", text="hi", feedback_id=made.feedback_id, task="mood", ts=5, source="crm", weight=0.5)


def test_the_message_s_id_is_the_same_for_the_same_label_from_the_same_source() -> None:
    rows = [Row("hi", "x"), Row("hi", "x", 5), Row("hi", "y"), Row("ho", "x"), Row("hi", "x", None, {"id": "1"})]
    ids = [label(row).feedback_id for row in rows]
    assert ids[0] == ids[1]
    assert len({*ids, to_label(rows[0], Plan(task="mood", source="other"), SETTINGS).feedback_id, None}) == 6


@pytest.mark.parametrize(
    ("meta", "event_id"),
    [
        ({"event_id": "e", "id": "i"}, "e"),
        ({"id": "i"}, "i"),
        ({"id": 17}, "17"),
        ({"event_id": None, "id": "i"}, "i"),
        ({}, import_id("mood", "hi")),
    ],
)
def test_the_id_is_the_row_s_own_or_made_of_task_and_text(meta: Meta, event_id: str) -> None:
    assert label(Row("hi", "x", None, meta)).event_id == event_id


def test_the_same_text_has_the_same_id_in_one_task_and_another_in_the_next() -> None:
    assert import_id("default", "hi") == import_id("default", "hi")
    assert len({import_id("default", "hi"), import_id("mood", "hi"), import_id("default", "ho")}) == 3


@pytest.mark.parametrize(("weight", "read"), [(None, 1.0), (2, 2.0), (0.5, 0.5), ("0.25", 0.25)])
def test_weights_as_json_and_csv_have_them(weight: float | str | None, read: float) -> None:
    assert label(Row("hi", "x", None, {"weight": weight})).weight == read


@pytest.mark.parametrize(
    ("row", "reason", "field"),
    [
        (Row("hi", "x", None, {"weight": "much"}), "invalid_field", "$.weight"),
        (Row("hi", "x", None, {"weight": 0}), "invalid_field", "$.weight"),
        (Row("hi", "x", None, {"weight": "nan"}), "invalid_field", "$.weight"),
        (Row("hi", "x", None, {"weight": True}), "invalid_field", "$.weight"),
        (Row("hi", "x", None, {"event_id": 1.5}), "invalid_field", "$.event_id"),
        (Row("hi", "x", None, {"id": True}), "invalid_field", "$.event_id"),
        (Row("hi", "x", None, {"id": "i" * 257}), "invalid_field", "$.event_id"),
        (Row("", "x"), "invalid_field", "$.text"),
        (Row("far too long", "x"), "text_too_long", "$.text"),
    ],
)
def test_what_the_jobs_would_reject_is_not_sent_and_the_field_is_named(row: Row, reason: str, field: str) -> None:
    with pytest.raises(RejectRecord) as caught:
        label(row)
    assert caught.value.reason == reason
    assert field in caught.value.detail


places = st.tuples(st.integers(0, 3), st.integers(0, 40))


@given(st.sets(places), st.lists(st.tuples(places, st.sampled_from(State))))
def test_the_last_state_of_each_label_counts_and_only_ours(ours: set[tuple[int, int]], said: list[tuple[tuple[int, int], State]]) -> None:
    imported = Imported({0: 0, 1: 10})  # partitions that are new since then begin at 0
    for partition, place in ours:
        imported.sent += 1
        imported.note_sent(partition, place + (10 if partition == 1 else 0))
    last: dict[tuple[int, int], State] = {}
    for number, ((partition, place), state) in enumerate(said):
        imported.note_state(Position(partition=partition, offset=place + (10 if partition == 1 else 0)), state, number)
        if (partition, place) in ours:
            last[partition, place] = state
    assert imported.counts() == Counter(last.values())
    assert imported.undecided == len(ours) - sum(state is not State.WAITING for state in last.values())


def test_the_last_line_says_what_became_of_what() -> None:
    imported = Imported({0: 0})
    imported.sent, imported.unlabelled, imported.skipped = 2, 1, 3
    for offset, state in enumerate((State.TRAINED, State.DUPLICATE)):
        imported.note_sent(0, offset)
        imported.note_state(Position(partition=0, offset=offset), state, 7 if state is State.TRAINED else None)
    assert imported.summary(2.0, waited=True) == (
        "sent 2 labels | 1 duplicate, 1 trained (in 2.0 s, 1 a second); model at seq 7; left out: 1 rows without a label, 3 unusable lines"
    )


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--task", "UPPER"], ["--source", "s" * 257], []])
def test_wrong_arguments_exit_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import-labels", *(["a.jsonl"] if arguments else []), *arguments])
    assert caught.value.code == 2
