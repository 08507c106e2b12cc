"""From the body of a POST to records for Kafka: validated with the schemas of the topics, ids added where missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

import msgspec

from api.ids import MakeId
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


class Incoming(msgspec.Struct, frozen=True):
    """What a body holds.

    Attributes:
        records: what is to be sent, in order.
        places: the place of each of them in the body.
        ids: of each item its id; None for one that is refused.
        errors: what is wrong with the items that are refused.
        several: whether they came as a list.
    """

    records: list[Outgoing]
    places: list[int]
    ids: list[str | None]
    errors: list[FieldError]
    several: bool


def events(body: bytes, settings: Settings, make_id: MakeId) -> Incoming:
    """Return the events in `body`, one object or a list.

    Raises:
        Problem: naming every item that is wrong, if none is right.
    """

    def one(value: bytes) -> Outgoing:
        event = parse_event(value, tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
        return Outgoing(event.event_id, event.event_id.encode(), encode(event))

    return _parse(body, "event_id", make_id, one)


def feedback(body: bytes, settings: Settings, make_id: MakeId) -> Incoming:
    """Return the labels in `body`, one object or a list.

    Raises:
        Problem: naming every item that is wrong, if none is right.
    """

    def one(value: bytes) -> Outgoing:
        label = parse_feedback(value, tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)
        return Outgoing(label.feedback_id or "", label.event_id.encode(), encode(label))

    return _parse(body, "feedback_id", make_id, one)


def _parse(body: bytes, id_field: str, make_id: MakeId, one: Callable[[bytes], Outgoing]) -> Incoming:
    items, several = _items(body)
    found = Incoming([], [], [], [], several)
    for place, item in enumerate(items):
        if isinstance(item, dict):
            _complete(item, id_field, place, make_id)
        try:
            record = one(msgspec.json.encode(item))
        except RejectRecord as error:
            found.errors.append(field_error(error, place if several else None))
            found.ids.append(None)
            continue
        found.records.append(record)
        found.places.append(place)
        found.ids.append(record.id)
    if not found.records:
        count = f"all of {len(items)} records are invalid" if several else "the record is invalid"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{count}; nothing was accepted", errors=found.errors)
    return found


def _complete(item: dict[str, object], id_field: str, place: int, make_id: MakeId) -> None:
    """Give the record an id if it has none, and whole numbers where JSON's `5.0` is meant to be one."""
    if item.get(id_field) is None:
        item[id_field] = make_id(place, {name: value for name, value in item.items() if name != id_field})
    for name in ("ts", "v"):
        number = item.get(name)
        if isinstance(number, float) and number.is_integer():
            item[name] = int(number)


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
