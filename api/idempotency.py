"""The header `Idempotency-Key`: a request with it may be repeated, and is done once.

The ids that the API makes are derived from it, so a repetition is the same records, whichever process gets it and whether Redis is
there or not: the pipeline knows them, and learns nothing twice. Redis knows, for a day, what was sent with a key: then a repetition is
answered without being sent, and a key with another body is refused.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header, Request

from api.access.roles import Caller
from api.problems import FieldError, Problem
from api.services import invalid
from store.connect import RedisUnavailable
from store.idempotency import KeyReused, SentKeys

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEY_MAX = 255
_BESIDE = "\0"  # in no header

_Given = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=KEY_MAX,
        pattern="^[\\x20-\\x7e]+$",
        description="names this request, e.g. a UUID: repeated with the same body, it is done once. 1 to 255 printable ASCII characters",
    ),
]


async def _key(request: Request, key: _Given = None) -> str | None:
    """Return the key as one of this caller: what others send with the same key is none of its business."""
    if len(request.headers.getlist(HEADER)) > 1:
        raise invalid("header", HEADER, "repeated", "the header is there more than once")
    caller: Caller = request.state.caller
    return None if key is None else f"{caller.name or ''}{_BESIDE}{key}"


IdempotencyKey = Annotated[str | None, Depends(_key)]


def was_sent(keys: SentKeys, route: str, key: str, body: bytes) -> bool:
    """Say whether the body was sent with this key; if not, it is noted that it is being sent. False while Redis is away.

    Raises:
        Problem: if another body was sent with it.
    """
    try:
        return keys.claim(route, key, body)
    except KeyReused as error:
        wrong = FieldError(field=HEADER, reason="key_reused", detail="this key was sent with another body within the last day")
        detail = f"{HEADER} {key.partition(_BESIDE)[2]!r} belongs to another request; nothing was accepted. Use a new key for what is new"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=[wrong]) from error
    except RedisUnavailable as error:
        log.warning("idempotency keys are not compared: %s", error)
        return False


def note_sent(keys: SentKeys, route: str, key: str, body: bytes) -> None:
    """Note that the body is in Kafka; if Redis cannot be told, a repetition sends it again, which is harmless."""
    try:
        keys.sent(route, key, body)
    except RedisUnavailable as error:
        log.warning("what was sent with an idempotency key is not noted: %s", error)
