"""Label Studio's two forms, what is wrong with some of them, and ids by which a file may be imported again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.review.label_studio import NOBODY, exported, imported
from online_model.review.opinions import Review
from schemas.parsing import RejectRecord
from schemas.records import ModelVersion, Position, Prediction, State
from store.import_ids import import_id
from store.recent.rows import Marks, Recent
from store.writer import TEXT_SHOWN

pytestmark = pytest.mark.unit


def task(**changes: Any) -> dict[str, Any]:
    """A task as it comes out of Label Studio, with what this project does not read."""
    choice = {"id": "x", "from_name": "sentiment", "to_name": "text", "type": "choices", "origin": "manual", "value": {"choices": ["good"]}}
    annotation = {
        "id": 7,
        "completed_by": 2,
        "result": [choice],
        "was_cancelled": False,
        "lead_time": 3.5,
        "updated_at": "2026-01-31T10:00:00Z",
    }
    return {
        "id": 1,
        "data": {"text": "hi", "event_id": "e1"},
        "annotations": [annotation],
        "drafts": [],
        "meta": {},
        "project": 1,
        **changes,
    }


def recent(text: str, *reviews: Review) -> Recent:
    prediction = Prediction(
        label="a", proba={"a": 0.75, "b": 0.25}, classes=2, model=ModelVersion(line="r1", seq=9), event_id="e1", task="default", text=text,
        meta={}, event_ts=1, predicted_at=1, source=Position(partition=0, offset=0),
    )  # fmt: skip
    return Recent(prediction=prediction, marks=Marks(state=State.TRAINED, reviews=reviews))


def test_an_annotation_becomes_a_label_of_its_reviewer() -> None:
    (found,) = imported(task(), "default")
    assert (found.event_id, found.text, found.label, found.reviewer) == ("e1", "hi", "good", "annotator 2")


@pytest.mark.parametrize(
    ("by", "reviewer"), [({"email": "a@b.c", "id": 4}, "a@b.c"), ({"id": 4}, "annotator 4"), ("ann", "ann"), (None, NOBODY), ({}, NOBODY)]
)
def test_who_made_it(by: object, reviewer: str) -> None:
    annotations = [{**task()["annotations"][0], "completed_by": by}]
    assert imported(task(annotations=annotations), "default")[0].reviewer == reviewer


def test_json_min_is_read_as_well_and_a_text_without_an_id_gets_the_one_that_import_labels_gives() -> None:
    (found,) = imported({"text": "hi", "label": "good", "annotator": 1, "annotation_id": 2, "lead_time": 1.0}, "default")
    assert (found.event_id, found.text, found.label, found.reviewer) == (import_id("default", "hi"), "hi", "good", "annotator 1")
    assert imported({"text": "hi", "id": 3}, "default") == []


def test_what_nobody_labelled_gives_nothing() -> None:
    cancelled = {**task()["annotations"][0], "was_cancelled": True}
    other_kind = {"type": "rating", "value": {"rating": 4}}
    assert imported(task(annotations=[]), "default") == []
    assert imported(task(annotations=[cancelled, {"result": []}, {"result": [other_kind]}]), "default") == []


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("text", "$"),
        ({"data": []}, "$.data"),
        ({"data": {"text": 5}}, "$.data"),
        ({"data": {}}, "$.data"),
        ({"data": {"text": "hi", "task": "mood"}}, "$.data.task"),
        (task(annotations={}), "$.annotations"),
        (task(annotations=[{"result": "x"}]), "$.annotations[0].result"),
        (task(annotations=[{"result": [{"type": "choices", "value": {"choices": ["a", "b"]}}]}]), "$.annotations[0].result"),
        (task(annotations=[{"result": [{"type": "choices", "value": {"choices": 5}}]}]), "$.annotations[0].result"),
        (task(annotations=[{"result": [{"type": "choices", "value": "a"}]}]), "$.annotations[0].result"),
        ({"text": "hi", "label": {"choices": ["a", "b"]}}, "$.label"),
    ],
)
def test_what_cannot_be_read_is_named(item: object, field: str) -> None:
    with pytest.raises(RejectRecord) as refused:
        imported(item, "default")
    assert f"`{field}`" in refused.value.detail


def test_what_was_exported_is_read_back_and_a_text_that_is_cut_is_not_taken_for_a_whole_one() -> None:
    reviews = (Review("ann", "b", 1), Review("bob", None, 2, "wrong", "wrong"))
    (whole,) = imported(_json(recent("hi", *reviews)), "default")
    assert (whole.event_id, whole.text, whole.label, whole.reviewer) == ("e1", "hi", "b", "ann")
    (cut,) = imported(_json(recent("x" * (TEXT_SHOWN + 1), *reviews)), "default")
    assert cut.text is None


def _json(event: Recent) -> dict[str, Any]:
    made = exported(event, reviewers=True)
    return {"data": made.data, "predictions": made.predictions, "annotations": made.annotations}


NAMES = st.sampled_from(["data", "text", "label", "annotations", "result", "value", "choices", "type", "event_id"])
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("choices"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(json_like)
def test_nothing_but_a_refusal_comes_of_odd_json(item: object) -> None:
    try:
        found = imported(item, "default")
    except RejectRecord:
        return
    assert all(label.label and label.event_id for label in found)


@given(st.sampled_from(["label", "reviewer", "time"]))
def test_ids_are_the_same_for_the_same_annotation_and_no_other(changed: str) -> None:
    first, same = imported(task(), "default")[0], imported(task(), "default")[0]
    changes: dict[str, dict[str, Any]] = {
        "label": {"result": [{"type": "choices", "value": {"choices": ["bad"]}}]},
        "reviewer": {"completed_by": 3},
        "time": {"updated_at": "2026-01-31T11:00:00Z"},
    }
    annotation = {**task()["annotations"][0], **changes[changed]}
    assert first.feedback_id == same.feedback_id != imported(task(annotations=[annotation]), "default")[0].feedback_id
