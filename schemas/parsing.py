"""Bytes to records and back. A record that cannot be read is refused with a reason that names the field."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection
from typing import TypeVar

import msgspec

from schemas.log import AnyLogEntry, Command
from schemas.records import SCHEMA_VERSION, DeadLetter, Event, Feedback, Position, Reason, Record

HEAD_BYTES = 64 * 1024

MAX_META_BYTES = 64 * 1024
"""Longest `meta` of an event as JSON: it goes into the prediction, the label's log entry and the read model."""

MAX_COMMAND_BYTES = 64 * 1024
"""Longest command for the learner: it waits in the state, and goes on into the entry of the log that answers it."""

_NUMBERS_GROW = 8
"""JSON written by us is at most so many times as long as what was read: `1e15` becomes `1000000000000000.0`."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]", re.DOTALL)

R = TypeVar("R", bound=Record)
S = TypeVar("S", bound=msgspec.Struct)
_encoder = msgspec.json.Encoder()


class RejectRecord(Exception):
    """A record from outside breaks the rules; its sender must act. It goes to the dead-letter topic."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class _Version(msgspec.Struct):
    v: int = SCHEMA_VERSION


_version_decoder = msgspec.json.Decoder(_Version)
_event_decoder = msgspec.json.Decoder(Event)
_feedback_decoder = msgspec.json.Decoder(Feedback)
_command_decoder = msgspec.json.Decoder(Command)
_log_decoder: msgspec.json.Decoder[AnyLogEntry] = msgspec.json.Decoder(AnyLogEntry)


def encode(record: msgspec.Struct) -> bytes:
    """Return the record as JSON bytes (UTF-8, keys in declaration order).

    >>> encode(Event(event_id="1", text="hi"))
    b'{"v":1,"event_id":"1","text":"hi","ts":null,"task":"default","meta":{}}'
    """
    return _encoder.encode(record)


def _decode(decoder: msgspec.json.Decoder[R], value: bytes | None) -> R:
    if value is None:
        raise RejectRecord(Reason.NULL_VALUE, "the record has no value")
    try:
        record = decoder.decode(value)
    except msgspec.ValidationError as error:
        _check_version(value)
        raise RejectRecord(Reason.INVALID_FIELD, str(error)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        _check_utf8(value)
        raise RejectRecord(Reason.NOT_JSON, str(error) + _hint(value)) from error
    except UnicodeDecodeError as error:
        raise RejectRecord(Reason.NOT_UTF8, str(error)) from error
    if record.v != SCHEMA_VERSION:
        raise RejectRecord(Reason.UNKNOWN_VERSION, f"`$.v` is {record.v}, this version reads {SCHEMA_VERSION}")
    return record


def _check_utf8(value: bytes) -> None:
    """Say that bytes are no UTF-8 rather than that they are no JSON."""
    try:
        value.decode()
    except UnicodeDecodeError as error:
        raise RejectRecord(Reason.NOT_UTF8, str(error)) from error


def _hint(value: bytes) -> str:
    """Return what the decoder's message does not tell of a value that is no JSON."""
    if not value:
        return ": the value is empty"
    if value.startswith(_BYTE_ORDER_MARK):
        return ": it begins with a byte order mark"
    return ": half of a surrogate pair stands alone in it" if _LONE_SURROGATE.search(value) else ""


def _check_version(value: bytes) -> None:
    """Say that the version is unknown rather than that a field of an unknown version is wrong."""
    try:
        version = _version_decoder.decode(value).v
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    if version != SCHEMA_VERSION:
        raise RejectRecord(Reason.UNKNOWN_VERSION, f"`$.v` is {version}, this version reads {SCHEMA_VERSION}")


def parse_event(value: bytes | None, *, tasks: Collection[str], max_text_bytes: int) -> Event:
    """Return the event in `value`.

    Raises:
        RejectRecord: if it cannot be read, breaks a rule, names an unknown task, or its text or meta is too long.

    >>> parse_event(b'{"event_id": "1", "text": 5}', tasks={"default"}, max_text_bytes=99)
    Traceback (most recent call last):
    ...
    schemas.parsing.RejectRecord: invalid_field: Expected `str`, got `int` - at `$.text`
    """
    event = _decode(_event_decoder, value)
    _check_task(event.task, tasks)
    _check_length(event.text, max_text_bytes)
    if event.meta and len(value or b"") * _NUMBERS_GROW > MAX_META_BYTES and len(_encoder.encode(event.meta)) > MAX_META_BYTES:
        raise RejectRecord(Reason.META_TOO_LONG, f"`$.meta` has more than {MAX_META_BYTES} bytes as JSON")
    return event


def parse_feedback(value: bytes | None, *, tasks: Collection[str], max_text_bytes: int) -> Feedback:
    """Return the label or verdict in `value`.

    Raises:
        RejectRecord: if it cannot be read, breaks a rule, names an unknown task, or brings a text that is too long.

    >>> parse_feedback(b'{"event_id": "1"}', tasks={"default"}, max_text_bytes=99)
    Traceback (most recent call last):
    ...
    schemas.parsing.RejectRecord: invalid_field: `$.label` or `$.verdict` is needed: both are missing
    """
    feedback = _decode(_feedback_decoder, value)
    _check_meaning(feedback)
    _check_task(feedback.task, tasks)
    if feedback.text is not None:
        _check_length(feedback.text, max_text_bytes)
    return feedback


def _check_meaning(feedback: Feedback) -> None:
    """Refuse what says nothing, or two things."""
    if feedback.verdict is None:
        if feedback.label is None:
            raise RejectRecord(Reason.INVALID_FIELD, "`$.label` or `$.verdict` is needed: both are missing")
        return
    if feedback.label is not None:
        raise RejectRecord(Reason.INVALID_FIELD, "`$.verdict` stands in place of `$.label`: both are given")
    if feedback.text is not None:
        raise RejectRecord(Reason.INVALID_FIELD, "`$.verdict` is about what was served: it goes with no `$.text`")


def parse_command(value: bytes | None, *, tasks: Collection[str]) -> Command:
    """Return the command in `value`.

    Raises:
        RejectRecord: if it cannot be read, breaks a rule, names an unknown task, lacks what it needs, or is too long.

    >>> parse_command(b'{"command_id": "1", "task": "default", "do": "shadow", "by": "ann"}', tasks={"default"})
    Traceback (most recent call last):
    ...
    schemas.parsing.RejectRecord: invalid_field: `$.line` is missing: which line to shadow
    """
    if value is not None and len(value) > MAX_COMMAND_BYTES:
        raise RejectRecord(Reason.INVALID_FIELD, f"a command has at most {MAX_COMMAND_BYTES} bytes, this one {len(value)}")
    command = _decode(_command_decoder, value)
    _check_task(command.task, tasks)
    if command.line is None and command.do != "rollback":
        raise RejectRecord(Reason.INVALID_FIELD, f"`$.line` is missing: which line to {command.do}")
    if (command.share is None) == (command.do == "split"):
        raise RejectRecord(Reason.INVALID_FIELD, f"`$.share` belongs to `split`, and to nothing else; `$.do` is {command.do!r}")
    return command


def _check_length(text: str, max_text_bytes: int) -> None:
    if len(text) * 4 > max_text_bytes and len(text.encode(errors="surrogatepass")) > max_text_bytes:
        raise RejectRecord(Reason.TEXT_TOO_LONG, f"`$.text` has more than {max_text_bytes} bytes")


def parse_log_entry(value: bytes) -> AnyLogEntry:
    """Return the entry of the model log in `value`; the log is ours, so anything unreadable in it is an error.

    Raises:
        msgspec.DecodeError: if it is no entry.
    """
    return _log_decoder.decode(value)


def record_parser(kind: type[S]) -> Callable[[bytes], S]:
    """Return a function that parses one of our own records from bytes (raises `msgspec.DecodeError`)."""
    return msgspec.json.Decoder(kind).decode


def _check_task(task: str, tasks: Collection[str]) -> None:
    if task not in tasks:
        raise RejectRecord(Reason.UNKNOWN_TASK, f"`$.task` is {task!r}, configured are {', '.join(sorted(tasks))}")


def dead_letter(value: bytes | None, *, topic: str, at: Position, error: RejectRecord, now: int) -> DeadLetter:
    """Return the dead letter for a refused record: what, where, why, and at most 64 KiB of its bytes."""
    data = value or b""
    return DeadLetter(
        topic=topic,
        partition=at.partition,
        offset=at.offset,
        reason=error.reason,
        detail=error.detail,
        length=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        head=base64.b64encode(data[:HEAD_BYTES]).decode(),
        time=now,
    )
