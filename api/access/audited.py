"""Notes every change in the audit trail, by itself: a route that declares a role other than `read` for a method needs nothing more.

What was changed is taken from the route and from what its caller was told. Those who promote, label or import get their answer when the
record is in Kafka, or at the latest after two seconds; then it waits there and is written later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.browsers import SAFE_METHODS
from api.access.roles import Caller, in_order
from api.access.trail import Trail
from api.asked_by import CURRENT
from schemas.audit import AUDIT_IDS_MAX, AuditRecord
from schemas.records import MAX_ID

ROLE_NEEDED = "role_needed"
"""Where the check of the role leaves in the scope's state what it was."""
ADDED_UP = frozenset({"/v1/events", "/v1/feedback"})
"""Routes that are asked too often for a record each."""
PATIENCE_S = 2.0
_TOLD_MAX_BYTES = 256 * 1024


class _Told(msgspec.Struct, frozen=True):
    """What the answers to changes have in common."""

    accepted: int | None = None
    ids: list[str | None] = []
    command_id: str | None = None


class Audited:
    """The routes, with every change noted. Stands inside of the gate, as ASGI middleware."""

    def __init__(self, app: ASGIApp, trail: Trail) -> None:
        self._app, self._trail = app, trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the routes answer, and note what they did."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._trail)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            # Only if it failed in the midst: then what it has changed is not known.
            answer.note_failure()


class _Answer:
    """One answer: if it is to a change it is held back, small as it is, until the change is noted."""

    def __init__(self, scope: Scope, send: Send, trail: Trail) -> None:
        self._scope, self._send, self._trail = scope, send, trail
        self._start: Message | None = None
        self._noted = False

    async def send(self, message: Message) -> None:
        if not _is_change(self._scope) or self._noted:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._start = message
        elif self._start is not None:
            whole = not message.get("more_body", False)
            record = _record(self._scope, self._start["status"], _told(message["body"]) if whole else _Told())
            self._noted = True
            await self._note(record)
            await self._send(self._start)
            await self._send(message)

    def note_failure(self) -> None:
        """Note a change whose answer never came."""
        if _is_change(self._scope) and not self._noted:
            self._noted = True
            self._trail.note(_record(self._scope, 500, _Told()))

    async def _note(self, record: AuditRecord) -> None:
        if record.status >= 400 or record.action.partition(" ")[2] in ADDED_UP:
            self._trail.add_up(record)
        else:
            await asyncio.wait([asyncio.wrap_future(self._trail.note(record))], timeout=PATIENCE_S)


def _is_change(scope: Scope) -> bool:
    return bool(scope["state"].get(ROLE_NEEDED, "read") != "read")


def _record(scope: Scope, status: int, told: _Told) -> AuditRecord:
    state: Mapping[str, Any] = scope["state"]
    caller: Caller = state["caller"]
    by = CURRENT.get()
    named = [*map(str, scope.get("path_params", {}).values()), *filter(None, told.ids), *filter(None, [told.command_id])]
    return AuditRecord(
        time=time.time_ns() // 1_000_000,
        name=caller.name,
        roles=in_order(caller.roles),
        address=caller.address,
        action=f"{scope['method']} {getattr(scope.get('route'), 'path_format', '')}",
        task=_task(scope) if status < 400 else None,
        ids=tuple(name[:MAX_ID] for name in named[:AUDIT_IDS_MAX]),
        items=(told.accepted if told.accepted is not None else 1) if status < 400 else 0,
        status=status,
        request_id=by.request_id if by else None,
    )


def _task(scope: Scope) -> str | None:
    """Return the task that the query names, which the route has checked."""
    return next(iter(parse_qs(scope["query_string"].decode("latin-1")).get("task", ())), None)


def _told(body: bytes) -> _Told:
    """Return what an answer says of what was done; nothing, if it is none that we know."""
    if len(body) > _TOLD_MAX_BYTES:
        return _Told()
    try:
        return msgspec.json.decode(body, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Told()
