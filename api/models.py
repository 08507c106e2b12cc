"""The routes about models: which lines there are, which was live when, and what is asked of the learner."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from api import asked
from api.access.guard import needs
from api.bodies import read_body
from api.ids import new_id
from api.incoming import Outgoing
from api.model_views import (
    CommandView,
    HistoryView,
    LineDetail,
    ModelAtView,
    ModelsView,
    command_view,
    history_view,
    line_detail,
    model_at,
    models_view,
)
from api.problems import Problem
from api.services import Has, Services, Task, answers, invalid, json, takes
from schemas.log import AnyChange, Command, RefusalEntry
from schemas.manifest import Manifest
from schemas.parsing import encode
from schemas.records import LATEST_MS, Trial
from schemas.topics import Topic
from store.asking import Do, UnknownLine, command_of
from store.connect import RedisUnavailable
from store.releases import ReleaseUnknown
from store.standing import Standing

LONGEST_WAIT_S = 60
_LOOK_S = 0.05
_COMMANDS = "/v1/models/commands/"


class _LineConvertor(StringConvertor):
    """A part of a path that names a line; `rollback` is a route of its own, and no line."""

    regex = "(?!rollback$)[^/]+"


register_url_convertor("line", _LineConvertor())
router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=needs("read", change="admin"))

LineId = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="name of a line")]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="wait so many seconds for the learner's answer")]


@router.get("", responses=answers(ModelsView, 422, 503))
def models(has: Has, task: Task) -> Response:
    """Return the lines of a task: which serves, which are watched and how they compare, and the releases that are stored."""
    return json(models_view(task, has.feed.task(task), has.releases.list(task), _trials(has, task)))


@router.get("/at", responses=answers(ModelAtView, 422, 503))
def at(
    has: Has,
    task: Task,
    moment: Annotated[
        str,
        Query(
            alias="time",
            max_length=64,
            description="ISO 8601 (UTC where it names no zone), or epoch milliseconds",
        ),
    ],
) -> Response:
    """Return which line was live at a time, and the change that had made it so."""
    return json(model_at(task, has.feed.task(task), _time(moment)))


@router.get("/history", responses=answers(HistoryView, 422, 503))
def history(has: Has, task: Task, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Response:
    """Return the changes of what is served or watched, and the commands that were refused, newest first."""
    return json(history_view(task, has.feed.task(task), limit))


@router.get("/commands/{command_id}", responses=answers(CommandView, 404, 422, 503))
def command(has: Has, command_id: Annotated[str, Path(min_length=1, max_length=256)]) -> Response:
    """Return what became of a command: `waiting` until the learner has answered it, then `done` or `refused`, with the answer."""
    answer = has.feed.answer_to(command_id)
    if answer is None and not has.sent.knows(command_id):
        detail = f"no answer to command {command_id!r} in the model log (yet), and this API has not sent it since it was started"
        raise Problem(HTTPStatus.NOT_FOUND, detail)
    return json(command_view(command_id, answer, _COMMANDS + command_id))


@router.get("/{line:line}", responses=answers(LineDetail, 404, 422, 503))
def line(has: Has, task: Task, line: LineId) -> Response:
    """Return all that is known of one line: its manifest with what the gate said, and its history."""
    trial = _trials(has, task).get(line)
    found = line_detail(task, line, has.feed.task(task), _manifest(has, task, line), trial)
    if found is None:
        raise _unknown_line(task, line)
    return json(found)


@router.post("/rollback", status_code=202, responses=asked.ANSWERS, openapi_extra=takes(asked.Rollback))
async def rollback(request: Request, has: Has, task: Task, wait_s: Wait = 0) -> Response:
    """Ask for the line that served before, or for `line`, to serve again; the one that serves is then held no more."""
    wanted = asked.parse(await read_body(request), asked.Rollback)
    return await _ask(has, task, "rollback", wanted.line, wanted, wait_s)


@router.post("/{line:line}/promote", status_code=202, responses=asked.ANSWERS, openapi_extra=takes(asked.Change))
async def promote(request: Request, has: Has, task: Task, line: LineId, wait_s: Wait = 0) -> Response:
    """Ask for a line to serve. The one that serves until then is watched as the former one, and can be rolled back to."""
    return await _ask(has, task, "promote", line, asked.parse(await read_body(request), asked.Change), wait_s)


@router.post("/{line:line}/shadow", status_code=202, responses=asked.ANSWERS, openapi_extra=takes(asked.Change))
async def shadow(request: Request, has: Has, task: Task, line: LineId, wait_s: Wait = 0) -> Response:
    """Ask for a line to be watched as a shadow: it predicts and learns beside the one that serves, and is promoted or dropped by itself."""
    return await _ask(has, task, "shadow", line, asked.parse(await read_body(request), asked.Change), wait_s)


@router.post("/{line:line}/split", status_code=202, responses=asked.ANSWERS, openapi_extra=takes(asked.Split))
async def split(request: Request, has: Has, task: Task, line: LineId, wait_s: Wait = 0) -> Response:
    """Ask for a line to serve a `share` of the events, chosen by hash of the event id."""
    wanted = asked.parse(await read_body(request), asked.Split)
    return await _ask(has, task, "split", line, wanted, wait_s, share=wanted.share)


@router.post("/{line:line}/drop", status_code=202, responses=asked.ANSWERS, openapi_extra=takes(asked.Change))
async def drop(request: Request, has: Has, task: Task, line: LineId, wait_s: Wait = 0) -> Response:
    """Ask for the watch of a line to end."""
    return await _ask(has, task, "drop", line, asked.parse(await read_body(request), asked.Change), wait_s)


async def _ask(
    has: Services, task: str, do: Do, line: str | None, wanted: asked.Change, wait_s: float, *, share: float | None = None
) -> Response:
    command = await to_thread.run_sync(_send, has, task, do, line, wanted, share, limiter=has.writers)
    # No thread is held while the learner thinks: the feed brings the answer, and it is looked for here.
    until = time.monotonic() + wait_s
    # The feed is a thread and knows no event loop, so it cannot wake this one.
    while (answer := has.feed.answer_to(command.command_id)) is None and time.monotonic() < until:  # noqa: ASYNC110 - as said above
        await asyncio.sleep(_LOOK_S)
    return _answered(command, answer)


def _send(has: Services, task: str, do: Do, line: str | None, wanted: asked.Change, share: float | None) -> Command:
    standing = Standing.after(has.feed.task(task).changes)
    manifest = _manifest(has, task, line) if line is not None else None
    try:
        command = command_of(
            do, line, standing, manifest, task=task, command_id=new_id(), by=wanted.by, why=wanted.why, share=share, against=wanted.against
        )  # fmt: skip
    except UnknownLine as error:
        raise Problem(HTTPStatus.NOT_FOUND, str(error)) from error
    has.sent.note(command.command_id)
    record = Outgoing(command.command_id, task.encode(), encode(command))
    has.publisher.publish(has.settings.topic_prefix + Topic.MODEL_COMMANDS, [record])
    return command


def _answered(command: Command, answer: AnyChange | None) -> Response:
    location = _COMMANDS + command.command_id
    if isinstance(answer, RefusalEntry):
        raise Problem(HTTPStatus.CONFLICT, f"the learner refused it: {answer.why} (command {command.command_id})")
    response = json(command_view(command.command_id, answer, location), status=202 if answer is None else 200)
    response.headers["Location"] = location
    return response


def _manifest(has: Services, task: str, line: str) -> Manifest | None:
    try:
        return has.releases.get(task, line)
    except ReleaseUnknown:
        return None


def _trials(has: Services, task: str) -> dict[str, Trial]:
    """Return the trials of the watched lines; none while Redis is away: what is served says the log."""
    try:
        quality = has.reader.quality(task)
    except RedisUnavailable:
        return {}
    return {trial.line: trial for trial in quality.trials} if quality else {}


def _time(text: str) -> int:
    """Return the epoch ms of a time, given as that or in ISO 8601."""
    if text.isascii() and text.isdecimal():
        moment = int(text)
    else:
        try:
            # A plus sign that was not encoded arrives as a space.
            parsed = datetime.fromisoformat(text.strip().upper().replace(" +", "+"))
            moment = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
            # Before all that we know of, and after it, the same was live as at its edges.
            moment = min(max(moment, 0), LATEST_MS)
        except (ValueError, OverflowError) as error:
            detail = f"{text!r} is neither an ISO 8601 time (2026-01-31T14:03) nor epoch milliseconds"
            raise invalid("query", "time", "invalid_time", detail) from error
    if not 0 <= moment <= LATEST_MS:
        raise invalid("query", "time", "invalid_time", "before 1970, or after the year 9999")
    return moment


def _unknown_line(task: str, line: str) -> Problem:
    detail = f"task {task} has no line {line!r}: neither does the model log name it, nor is there a release of that name"
    return Problem(HTTPStatus.NOT_FOUND, detail)
