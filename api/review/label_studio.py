"""Label Studio's JSON (https://labelstud.io/guide/task_format): tasks with predictions and annotations, there and back. Pure.

Out of its projects come two forms: "JSON", with everything, and "JSON-MIN", where a task is one flat object. Both are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from online_model.review.opinions import Review
from schemas.parsing import RejectRecord
from schemas.records import Prediction, Reason
from store.import_ids import hashed, import_id
from store.reader import confidence
from store.recent.rows import Recent
from store.writer import TEXT_SHOWN

FROM_NAME, TO_NAME = "label", "text"
"""Names of the control and of what it is about, in the labelling configuration (docs/review.md)."""

SOURCE = "label-studio"
NOBODY = "label-studio"
"""The reviewer of an annotation that names none."""

Json = dict[str, Any]


class StudioTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of Label Studio: `data` is what is shown, `annotations` what people said, `predictions` what the model said."""

    data: dict[str, Any]
    predictions: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []


class _Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of an annotation."""

    result: list[dict[str, Any]] = []
    completed_by: int | str | dict[str, Any] | None = None
    was_cancelled: bool = False
    id: int | str | None = None
    updated_at: str | None = None


class Annotated(msgspec.Struct, frozen=True, kw_only=True):
    """A label that a task brings; the text is what the label is about, None if the task has no whole one."""

    event_id: str
    text: str | None
    label: str
    reviewer: str
    feedback_id: str


def exported(recent: Recent, *, reviewers: bool) -> StudioTask:
    """Return a prediction with what reviewers said as a task.

    Args:
        recent: the prediction.
        reviewers: whether annotations say who made them: Label Studio refuses addresses that it does not know.
    """
    p = recent.prediction
    data: Json = {"text": p.text[:TEXT_SHOWN], "event_id": p.event_id, "task": p.task}
    if len(p.text) > TEXT_SHOWN:
        data["text_truncated"] = True
    return StudioTask(
        data=data,
        predictions=[_prediction(p)] if p.label is not None else [],
        annotations=[_annotation(review, reviewers=reviewers) for review in recent.marks.reviews if review.label is not None],
    )


def _prediction(p: Prediction) -> Json:
    return {"model_version": f"{p.model.line}@{p.model.seq}", "score": confidence(p), "result": _choice(p.label or "")}


def _annotation(review: Review, *, reviewers: bool) -> Json:
    by = {"completed_by": {"email": review.reviewer}} if reviewers else {}
    return {**by, "result": _choice(review.label or ""), "was_cancelled": False, "ground_truth": False}


def _choice(label: str) -> list[Json]:
    return [{"from_name": FROM_NAME, "to_name": TO_NAME, "type": "choices", "value": {"choices": [label]}}]


def imported(item: object, task: str) -> list[Annotated]:
    """Return the labels that a task brings, in either form; none if nobody has labelled it.

    Raises:
        RejectRecord: if it cannot be read; the detail names the field.
    """
    if not isinstance(item, dict):
        raise RejectRecord(Reason.INVALID_FIELD, f"Expected `object`, got `{type(item).__name__}` - at `$`")
    data = item.get("data", item)
    if not isinstance(data, dict):
        raise RejectRecord(Reason.INVALID_FIELD, "Expected `object` - at `$.data`")
    if not isinstance(data.get("text"), str | None) or not isinstance(data.get("event_id"), str | None):
        raise RejectRecord(Reason.INVALID_FIELD, "`text` and `event_id` are texts - at `$.data`")
    if data.get("task", task) != task:
        raise RejectRecord(Reason.UNKNOWN_TASK, f"it is of task {data['task']!r}, and imported into {task!r} - at `$.data.task`")
    text, event_id = data.get("text") or None, data.get("event_id")
    if event_id is None:
        if text is None:
            raise RejectRecord(Reason.INVALID_FIELD, "an `event_id` or a `text` is needed - at `$.data`")
        event_id = import_id(task, text)
    whole = None if data.get("text_truncated") else text
    return [_annotated(event_id, whole, task, label, annotation) for annotation, label in _labels(item)]


def _labels(item: Json) -> list[tuple[_Annotation, str]]:
    """Return the annotations of a task that give a label."""
    if "data" not in item:
        label = item.get(FROM_NAME)
        if not label:
            return []
        if not isinstance(label, str):
            raise RejectRecord(Reason.INVALID_FIELD, f"one label is wanted, as a text - at `$.{FROM_NAME}`")
        flat = {"completed_by": item.get("annotator"), "id": item.get("annotation_id"), "updated_at": item.get("updated_at")}
        return [(_converted(flat, ""), label)]
    listed = item.get("annotations", [])
    if not isinstance(listed, list):
        raise RejectRecord(Reason.INVALID_FIELD, "Expected `array` - at `$.annotations`")
    found = []
    for number, one in enumerate(listed):
        annotation = _converted(one, f".annotations[{number}]")
        label = None if annotation.was_cancelled else _label(annotation.result, f".annotations[{number}].result")
        if label is not None:
            found.append((annotation, label))
    return found


def _converted(fields: object, place: str) -> _Annotation:
    try:
        return msgspec.convert(fields, _Annotation)
    except msgspec.ValidationError as error:
        raise RejectRecord(Reason.INVALID_FIELD, str(error).replace("`$", f"`${place}")) from error


def _label(result: Sequence[Json], place: str) -> str | None:
    """Return the one choice of an annotation; None if it has none."""
    values = [one.get("value") for one in result if one.get("type") == "choices"]
    given = [value.get("choices") if isinstance(value, dict) else None for value in values]
    choices = [choice for some in given for choice in (some if isinstance(some, list) else [some])]
    if not choices:
        return None
    if len(choices) > 1 or not isinstance(choices[0], str):
        raise RejectRecord(Reason.INVALID_FIELD, f"one label is wanted, as a text, not {choices!r:.200} - at `${place}`")
    return choices[0]


def _annotated(event_id: str, text: str | None, task: str, label: str, annotation: _Annotation) -> Annotated:
    reviewer = _reviewer(annotation.completed_by)
    made_of = (SOURCE, task, event_id, reviewer, label, str(annotation.id or ""), annotation.updated_at or "")
    return Annotated(event_id=event_id, text=text, label=label, reviewer=reviewer, feedback_id=hashed(*made_of))


def _reviewer(by: int | str | Json | None) -> str:
    """Return who made an annotation: a name or address, or the number that Label Studio has for somebody."""
    if isinstance(by, dict):
        by = by.get("email") or by.get("username") or by.get("id")
    if isinstance(by, int):
        return f"annotator {by}"
    return str(by) if by else NOBODY
