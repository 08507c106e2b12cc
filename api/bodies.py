"""Bodies of requests: read whole, up to a size, within a time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import Request
from starlette.requests import ClientDisconnect

from api.incoming import BODY_MAX_BYTES
from api.problems import FieldError, Problem

BODY_S = 60.0
"""How long a body may take to come: 8 MiB at 140 KB a second."""


async def read_body(request: Request) -> bytes:
    """Return the body.

    Raises:
        Problem: as soon as it is known to be too large, if it does not come in time, or if the client leaves.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > BODY_MAX_BYTES:
        raise body_too_large()
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(request)
    except ClientDisconnect as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "the client left before the body was complete; nothing was accepted") from error
    except TimeoutError as error:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body was not complete after {BODY_S:.0f} s; nothing was accepted") from error


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX_BYTES:
            raise body_too_large()
    return bytes(body)


def body_too_large() -> Problem:
    """Return the problem for a body beyond the limit."""
    error = FieldError(field="body", reason="too_large", detail=f"at most {BODY_MAX_BYTES} bytes")
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than 8 MiB: send fewer records at once", errors=[error])
