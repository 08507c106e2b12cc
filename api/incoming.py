"""From the body of a POST to records for Kafka: validated with the schemas of the topics, ids added where missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

import msgspec

from api.problems import FieldError, Problem
from schemas.parsing import RejectRecord, encode, parse_event, parse_feedback
from schemas.records import Reason
from schemas.settings import Settings

ITEMS_MAX = 1000
BODY_MAX_BYTES = 8 * 1024 * 1024

_path = re.compile(r"`\$\.?([^`]*)`")
_missing = re.compile(r"missing required field `([^`]+)`")


class Outgoing(msgspec.Struct, frozen=True):
    """A record to send: the id told to the client, the key, the value, and headers of its own."""

    id: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def events(body: bytes, settings: Settings, new_id: Callable[[], str]) -> list[Outgoing]:
    """Return the events in `body`, one object or a list.

    Raises:
        Problem: naming every item that is wrong; none is to be sent then.
    """

    def one(value: bytes) -> Outgoing:
        event = parse_event(value, tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
        return Outgoing(event.event_id, event.event_id.encode(), encode(event))

    return _parse(body, "event_id", new_id, one)


def feedback(body: bytes, settings: Settings, new_id: Callable[[], str]) -> list[Outgoing]:
    """Return the labels in `body`, one object or a list.

    Raises:
        Problem: naming every item that is wrong; none is to be sent then.
    """

    def one(value: bytes) -> Outgoing:
        label = parse_feedback(value, tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
        return Outgoing(label.feedback_id or "", label.event_id.encode(), encode(label))

    return _parse(body, "feedback_id", new_id, one)


def _parse(body: bytes, id_field: str, new_id: Callable[[], str], one: Callable[[bytes], Outgoing]) -> list[Outgoing]:
    items, several = _items(body)
    records: list[Outgoing] = []
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get(id_field) is None:
            item[id_field] = new_id()
        try:
            records.append(one(msgspec.json.encode(item)))
        except RejectRecord as error:
            errors.append(field_error(error, index if several else None))
    if errors:
        count = f"{len(errors)} of {len(items)} records are invalid" if several else "the record is invalid"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{count}; nothing was accepted", errors=errors)
    return records


def _items(body: bytes) -> tuple[list[object], bool]:
    """Return the items of the body, and whether they came as a list."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        broken = FieldError(field="body", reason=Reason.NOT_JSON, detail=str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON in UTF-8: {error}", errors=[broken]) from error
    if not isinstance(decoded, list):
        return [decoded], False
    if not 1 <= len(decoded) <= ITEMS_MAX:
        wrong = FieldError(field="body", reason="list_length", detail=f"expected 1 to {ITEMS_MAX} items, got {len(decoded)}")
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{wrong.detail}; nothing was accepted", errors=[wrong])
    return decoded, True


def field_error(error: RejectRecord, index: int | None = None) -> FieldError:
    """Name the field that a record was refused for.

    >>> field_error(RejectRecord(Reason.INVALID_FIELD, "Expected `str`, got `int` - at `$.text`")).field
    'text'
    """
    path = _path.search(error.detail)
    parts = [path.group(1)] if path else []
    if missing := _missing.search(error.detail):
        parts.append(missing.group(1))
    return FieldError(field=".".join(filter(None, parts)) or "body", reason=error.reason, detail=error.detail, index=index)
