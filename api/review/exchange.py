"""The routes that exchange tasks and labels with Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from api.access.guard import needs
from api.access.limits import spend
from api.bodies import read_body
from api.incoming import Outgoing, field_error
from api.problems import FieldError, Problem
from api.review.label_studio import SOURCE, StudioTask, exported, imported
from api.review.label_studio import Annotated as Labelled
from api.review.sending import send
from api.review.views import Imported
from api.services import DESCRIBED, Has, Services, Task, answers, json
from schemas.parsing import RejectRecord, encode, parse_feedback
from schemas.records import Reason
from schemas.settings import Settings
from store.recent.queries import Filter
from store.recent.rows import Recent

TASKS_MAX = 5000

router = APIRouter(prefix="/v1/review", tags=["review"], dependencies=needs("review"))

DESCRIBED.add(StudioTask)
_TASKS: dict[str, Any] = {"type": "array", "items": {"$ref": "#/components/schemas/StudioTask"}, "maxItems": TASKS_MAX}
_CONTENT: dict[str, Any] = {"application/json": {"schema": _TASKS}}


@router.get("/export", responses=answers(Imported, 422, 503) | {200: {"description": "Tasks in Label Studio's JSON.", "content": _CONTENT}})
def export(
    has: Has,
    task: Task,
    limit: Annotated[int, Query(ge=1, le=TASKS_MAX, description="the newest so many")] = 1000,
    reviewed: Annotated[bool | None, Query(description="only events that someone has labelled, or only others")] = None,
    reviewers: Annotated[bool, Query(description="whether annotations say who made them, as `completed_by.email`")] = True,
) -> Response:
    """Return the newest predictions as tasks of Label Studio: text, prediction with score and model, and the labels of reviewers."""
    page = has.recent.page(task, Filter(reviewed=reviewed), limit=limit)
    tasks = [exported(recent, reviewers=reviewers) for recent in page.rows]
    return Response(msgspec.json.encode(tasks), media_type="application/json")


@router.post(
    "/import",
    status_code=202,
    responses=answers(Imported, 400, 413, 422, 503, status=202) | answers(Imported, status=207),
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def import_tasks(request: Request, has: Has, task: Task) -> Response:
    """Send the labels of tasks that were exported from Label Studio, as JSON or JSON-MIN; a task without a label is passed over.

    A label of a text that is no recent event brings its text along, and is learned all the same. Importing a file again teaches nothing
    twice. Labels of a list that are right are accepted: all (202), some (207) or none (422).
    """
    return await to_thread.run_sync(_import, request, has, task, await read_body(request), limiter=has.writers)


def _import(request: Request, has: Services, task: str, body: bytes) -> Response:
    items = _items(body)
    parsed: list[list[Labelled]] = []
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        try:
            parsed.append(imported(item, task))
        except RejectRecord as error:
            parsed.append([])
            errors.append(field_error(error, index))
    recent = has.recent.some(task, list({label.event_id for labels in parsed for label in labels}))
    labels = _Labels(parsed, errors)
    labels.take(task, recent, has.settings)
    if errors and not labels.records and not labels.known:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "none of the tasks can be read; nothing was accepted", errors=errors)
    spend(request, len(labels.records))
    send(has, labels.records)
    return json(labels.view(), status=HTTPStatus.MULTI_STATUS if errors else HTTPStatus.ACCEPTED)


def _items(body: bytes) -> list[object]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        broken = FieldError(field="body", reason=Reason.NOT_JSON, detail=str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON in UTF-8: {error}", errors=[broken]) from error
    items = decoded if isinstance(decoded, list) else [decoded]
    if not 1 <= len(items) <= TASKS_MAX:
        wrong = FieldError(field="body", reason="list_length", detail=f"expected 1 to {TASKS_MAX} tasks, got {len(items)}")
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{wrong.detail}; nothing was accepted", errors=[wrong])
    return items


class _Labels:
    """What is sent of an import, and what is not."""

    def __init__(self, parsed: Sequence[Sequence[Labelled]], errors: list[FieldError]) -> None:
        self.parsed, self.errors = parsed, errors
        self.records: list[Outgoing] = []
        self.ids: list[str | None] = [None] * len(parsed)
        self.known = 0

    def take(self, task: str, recent: Mapping[str, Recent], settings: Settings) -> None:
        """Make a record of each label that is not known."""
        for index, labels in enumerate(self.parsed):
            for label in labels:
                event = recent.get(label.event_id)
                if event is not None and _is_known(label, event):
                    self.known += 1
                    continue
                try:
                    self.records.append(_record(label, task, whole=event is None, settings=settings))
                    self.ids[index] = label.feedback_id
                except RejectRecord as error:
                    self.errors.append(field_error(error, index))

    def view(self) -> Imported:
        """Return what became of them."""
        refused = {error.index for error in self.errors}
        skipped = sum(not labels and index not in refused for index, labels in enumerate(self.parsed))
        return Imported(accepted=len(self.records), known=self.known, skipped=skipped, ids=self.ids, errors=self.errors)


def _is_known(label: Labelled, event: Recent) -> bool:
    """Whether this reviewer has said so before: what was exported comes back, also if another label stands by now."""
    return any(review.reviewer == label.reviewer and review.label == label.label for review in event.marks.reviews)


def _record(label: Labelled, task: str, *, whole: bool, settings: Settings) -> Outgoing:
    """Return the feedback record of a label, with its text if it is about no recent event.

    It is drawn by nobody: which tasks people labelled there, and in which order, is not known, so it tells nothing of the accuracy.
    """
    fields = {
        "event_id": label.event_id,
        "task": task,
        "label": label.label,
        "feedback_id": label.feedback_id,
        "source": SOURCE,
        "reviewer": label.reviewer,
    }
    if whole and label.text is not None:
        fields["text"] = label.text
    feedback = parse_feedback(msgspec.json.encode(fields), tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
    return Outgoing(label.feedback_id, label.event_id.encode(), encode(feedback))
