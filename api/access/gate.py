"""The gate in front of all routes: names and origins, whose key it is. Every answer leaves through it with its security headers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.browsers import SAFE_METHODS, check_host, check_origin, security_headers
from api.access.key_file import KeyFile
from api.access.key_ring import KeyRing, difference
from api.access.limits import Limits
from api.access.roles import ROLES, Caller, expand
from api.access.trail import Trail
from api.observing import KEY_NAME
from api.problems import Problem, answer
from api.views import PartView
from schemas.api_settings import ApiSettings
from schemas.audit import AuditRecord

OPEN = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_BELOW = "/assets/"
"""What needs no key: whether it lives, what it is, and the pages, which hold no data and ask for it with their user's key."""
UNCOUNTED = frozenset({"/healthz", "/readyz"})
"""What is asked to find out whether it lives gets its answer, whatever else comes from there."""
KEYS_CHANGED = "keys changed"
_CHALLENGE = 'Bearer realm="millrace"'
_EVERYTHING = frozenset(ROLES)


class Access:
    """Who may ask: made once for the application.

    Args:
        settings: of the API.
        trail: where changes of the keys are noted.

    Raises:
        KeyFileError: if there is a key file that cannot be used.
    """

    def __init__(self, settings: ApiSettings, trail: Trail) -> None:
        self.settings = settings
        self.trail = trail
        self.limits = Limits(settings.requests_per_s, settings.items_per_s)
        self.keys = KeyRing(Path(settings.keys), self._keys_changed) if settings.keys else None

    @property
    def watched(self) -> dict[str, Callable[[], PartView]]:
        """What `/readyz` shows beside Kafka and Redis."""
        found = {"audit": self.trail.part}
        return found if self.keys is None else {**found, "keys": partial(_part_of, self.keys)}

    @property
    def keys_required(self) -> bool:
        """Whether a request must bring a key."""
        return self.keys is not None

    def _keys_changed(self, before: KeyFile, after: KeyFile) -> None:
        now, details = time.time_ns() // 1_000_000, tuple(difference(before, after))
        self.trail.note(AuditRecord(time=now, name=None, roles=[], address="", action=KEYS_CHANGED, status=200, details=details))

    def caller(self, headers: Mapping[str, str], address: str) -> Caller:
        """Return who sends a request.

        Raises:
            Problem: if it brings no key where one is needed, or one that is not valid now.
        """
        if self.keys is None:
            return Caller(None, _EVERYTHING, address)
        self.keys.refresh()
        presented = _presented(headers)
        if presented is None:
            raise _unauthorized("this needs an API key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`", _CHALLENGE)
        key = self.keys.owner(presented, time.time_ns() // 1_000_000)
        if key is None:
            raise _unauthorized("the API key is not known here, or not valid any more", f'{_CHALLENGE}, error="invalid_token"')
        return Caller(key.name, expand(key.roles), address, key.requests_per_s)

    def checked(self, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """Return who sends a request that may reach the routes.

        Raises:
            Problem: if it may not.
        """
        host = headers.get("host", "")
        if self.keys is None or self.settings.hosts:
            # Without a list and with keys any name will do: a page from elsewhere has no key.
            check_host(host, self.settings.hosts)
        if scope["method"] not in SAFE_METHODS:
            check_origin(headers.get("origin"), host, self.settings.origins)
        client = scope.get("client")
        stranger = Caller(None, frozenset(), str(client[0]) if client else "")
        if scope["path"] in UNCOUNTED:
            return stranger
        try:
            caller = stranger if is_open(scope["path"]) else self.caller(headers, stranger.address)
        except Problem:
            self.limits.take_request(stranger)
            raise
        self.limits.take_request(caller)
        return caller


class Gate:
    """The gate, as ASGI middleware."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to the routes, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_security_headers(send, scope["path"])
        try:
            caller = self._access.checked(scope, _wanted(scope))
        except Problem as problem:
            await answer(problem)(scope, receive, send)
            return
        scope.setdefault("state", {}).update({"caller": caller, KEY_NAME: caller.name})
        await self._app(scope, receive, send)


def _part_of(keys: KeyRing) -> PartView:
    trouble = keys.look()
    return PartView(ready=trouble is None, detail=trouble or "the key file is in order", since=keys.since)


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN or path.startswith(OPEN_BELOW)


_WANTED = (b"host", b"origin", b"authorization", b"x-api-key")


def _wanted(scope: Scope) -> dict[str, str]:
    """Return the headers that decide. One that comes twice is joined, and so is no name, origin or key any more."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _WANTED:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _presented(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key")


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def _with_security_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {name.lower(): value for name, value in headers}
            added = security_headers(present.get(b"content-type", b"").decode("latin-1"))
            if path.startswith("/v1/"):
                added = {**added, "cache-control": "no-store"}
            headers += [(name.encode(), value.encode()) for name, value in added.items() if name.encode() not in present]
            message = {**message, "headers": headers}
        await send(message)

    return sending
