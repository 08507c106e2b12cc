"""Every kind of input that `docs/bad-input.md` has a rule for, as bytes: the parsers and the whole stack are tested with this one table."""

from __future__ import annotations

from typing import NamedTuple

from schemas.parsing import MAX_META_BYTES
from schemas.records import Reason

DEFAULT_TASKS = ("default",)
MAX_TEXT_BYTES = 1024 * 1024
DEEP = 100_000


class Case(NamedTuple):
    """A record's value; `reason` is None if it is accepted, `says` must occur in the detail of the rejection."""

    name: str
    value: bytes | None
    reason: Reason | None = None
    says: str = ""


def _common(rest: bytes) -> list[Case]:
    """Cases of both topics; `rest` is the field, beside the id, without which a record is refused."""
    good = b'{"event_id": "x", ' + rest

    def with_id(event_id: bytes) -> bytes:
        return b'{"event_id": ' + event_id + b", " + rest + b"}"

    def plus(more: bytes) -> bytes:
        return good + b", " + more + b"}"

    not_json, not_utf8, invalid = Reason.NOT_JSON, Reason.NOT_UTF8, Reason.INVALID_FIELD
    return [
        Case("tombstone", None, Reason.NULL_VALUE, "no value"),
        Case("empty value", b"", not_json, "empty"),
        Case("blanks only", b" \n", not_json),
        Case("plain text", b"hello", not_json),
        Case("truncated", good, not_json),
        Case("trailing garbage", good + b"}!", not_json, "trailing"),
        Case("two records in one", good + b"}" + good + b"}", not_json, "trailing"),
        Case("byte order mark", b"\xef\xbb\xbf" + good + b"}", not_json, "byte order mark"),
        Case("utf-16", (good + b"}").decode().encode("utf-16"), not_utf8),
        Case("latin-1 in the id", with_id(b'"\xe9"'), not_utf8),
        Case("half a character at the end", good + b', "x": "\xe2\x98', not_utf8),
        Case("lone surrogate, escaped", with_id(b'"\\ud800"'), not_json, "surrogate"),
        Case("lone second surrogate, escaped", with_id(b'"\\udc00"'), not_json, "surrogate"),
        Case("lone surrogate, as bytes", with_id(b'"\xed\xa0\x80"'), not_utf8),
        Case("control character, not escaped", with_id(b'"a\x01"'), not_json),
        Case("NUL bytes", bytes(100), not_json),
        Case("a number", b"5", invalid, "int"),
        Case("a string", b'"text"', invalid, "str"),
        Case("a list", b"[" + good + b"}]", invalid, "array"),
        Case("null", b"null", invalid, "null"),
        Case("empty object", b"{}", invalid, "event_id"),
        Case("id missing", b"{" + rest + b"}", invalid, "event_id"),
        Case("id null", with_id(b"null"), invalid, "event_id"),
        Case("id a number", with_id(b"5"), invalid, "event_id"),
        Case("id empty", with_id(b'""'), invalid, "event_id"),
        Case("id of 257 characters", with_id(b'"' + b"x" * 257 + b'"'), invalid, "event_id"),
        Case("id of 3 MiB", with_id(b'"' + b"x" * 3 * 1024 * 1024 + b'"'), invalid, "event_id"),
        Case("id begins with a byte order mark", with_id(b'"\\ufeffx"'), invalid, "event_id"),
        # Read as UTF-16 in the other order, this is half of a surrogate pair.
        Case("id begins with a reversed byte order mark", with_id('"\ufffe\u00d8"'.encode()), invalid, "event_id"),
        Case("ts NaN", plus(b'"ts": NaN'), not_json),
        Case("ts -Infinity", plus(b'"ts": -Infinity'), not_json),
        Case("ts 1e999", plus(b'"ts": 1e999'), invalid, "ts"),
        Case("ts of 5,000 digits", plus(b'"ts": ' + b"9" * 5000), invalid, "ts"),
        Case("ts negative", plus(b'"ts": -1'), invalid, "ts"),
        Case("ts after the year 9999", plus(b'"ts": 253402300800000'), invalid, "ts"),
        Case("ts a string", plus(b'"ts": "2026-01-01"'), invalid, "ts"),
        Case("ts a fraction", plus(b'"ts": 1.5'), invalid, "ts"),
        Case("ts a boolean", plus(b'"ts": true'), invalid, "ts"),
        Case("version 2", b'{"v": 2, "of": ["another", "shape"]}', Reason.UNKNOWN_VERSION, "$.v"),
        Case("version of 4,000 digits", plus(b'"v": ' + b"9" * 4000), Reason.UNKNOWN_VERSION, "$.v"),
        Case("version a string", plus(b'"v": "1"'), invalid, "$.v"),
        Case("version null", plus(b'"v": null'), invalid, "$.v"),
        Case("unknown task", plus(b'"task": "unheard"'), Reason.UNKNOWN_TASK, "unheard"),
        Case("task null", plus(b'"task": null'), invalid, "task"),
        Case("task in capitals", plus(b'"task": "Default"'), invalid, "task"),
        Case("deep nesting", plus(b'"x": ' + b"[" * DEEP), not_json, "recursion"),
        Case("deep nesting, closed", plus(b'"x": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP), not_json, "recursion"),
        Case("wrong field before deep nesting", b'{"event_id": 5, "x": ' + b"[" * DEEP, invalid, "event_id"),
        Case("unknown fields", plus(b'"lang": ["de"], "x": {"y": null}')),
        Case("broken utf-8 in an unknown field", plus(b'"\xff": "\xff"')),
        Case("a field twice", b'{"event_id": "first", "event_id": "last", ' + rest + b"}"),
        Case("a field twice, one wrong", b'{"event_id": 5, "event_id": "last", ' + rest + b"}", invalid, "event_id"),
        Case("some nesting in an unknown field", plus(b'"x": ' + b"[" * 300 + b"]" * 300)),
        Case("blanks around", b" \r\n\t" + good + b"}\n"),
        Case("id of 256 characters", with_id('"{}"'.format("😀" * 256).encode())),
        Case("id of control characters", with_id(b'"a\\u0000b\\n\\u001b"')),
        Case("ts in the future", plus(b'"ts": 253402300799999')),
        Case("ts 0", plus(b'"ts": 0')),
    ]


def _event(text: bytes, more: bytes = b"") -> bytes:
    return b'{"event_id": "x", "text": ' + text + more + b"}"


def _with_meta(meta: bytes) -> bytes:
    return _event(b'"t"', b', "meta": ' + meta)


EVENTS = [
    *_common(b'"text": "some text"'),
    Case("text missing", b'{"event_id": "x"}', Reason.INVALID_FIELD, "text"),
    Case("text null", _event(b"null"), Reason.INVALID_FIELD, "text"),
    Case("text a list", _event(b'["a"]'), Reason.INVALID_FIELD, "text"),
    Case("text broken", _event(b'"a\xff"'), Reason.NOT_UTF8, "utf-8"),
    Case("text with a lone surrogate", _event(b'"a\\udfff"'), Reason.NOT_JSON, "surrogate"),
    Case("text above the limit", _event(b'"' + b"a" * (MAX_TEXT_BYTES + 1) + b'"'), Reason.TEXT_TOO_LONG, "text"),
    Case("text above the limit in bytes only", _event('"{}"'.format("☃" * (MAX_TEXT_BYTES // 3 + 1)).encode()), Reason.TEXT_TOO_LONG),
    Case("text of 7 MiB", _event(b'"' + b"a " * 3_500_000 + b'"'), Reason.TEXT_TOO_LONG, "text"),
    Case("meta null", _with_meta(b"null"), Reason.INVALID_FIELD, "meta"),
    Case("meta with nested values", _with_meta(b'{"a": {"b": 1}}'), Reason.INVALID_FIELD, "meta"),
    Case("meta with a list", _with_meta(b'{"a": []}'), Reason.INVALID_FIELD, "meta"),
    Case("meta nested deeply", _with_meta(b'{"a": ' + b"[" * DEEP), Reason.INVALID_FIELD, "meta"),
    Case("meta NaN", _with_meta(b'{"a": NaN}'), Reason.NOT_JSON),
    Case("meta 1e999", _with_meta(b'{"a": 1e999}'), Reason.INVALID_FIELD, "meta"),
    Case("meta of 5,000 digits", _with_meta(b'{"a": ' + b"9" * 5000 + b"}"), Reason.INVALID_FIELD, "meta"),
    Case("meta above the limit", _with_meta(b'{"a": "' + b"x" * MAX_META_BYTES + b'"}'), Reason.META_TOO_LONG, "meta"),
    Case("meta of 7 MiB", _with_meta(b'{"a": "' + b"x" * 7 * 1024 * 1024 + b'"}'), Reason.META_TOO_LONG, "meta"),
    # Short as sent; written out, each number has 18 characters.
    Case(
        "meta above the limit once written",
        _with_meta(b"{" + b", ".join(b'"%d": 1e15' % n for n in range(3000)) + b"}"),
        Reason.META_TOO_LONG,
    ),
    Case("meta of 4,000 digits", _with_meta(b'{"a": ' + b"9" * 4000 + b', "b": -0.0, "c": 1e-999}')),
    Case("text of 0 bytes", _event(b'""')),
    Case("text of blanks", _event(b'" \\t\\n\\u3000"')),
    Case("text of control characters", _event(b'"\\u0000\\u0001\\u001b[31m\\u007f\\u202e"')),
    Case("text of 1 MiB", _event(b'"' + b"some words " * (MAX_TEXT_BYTES // 11) + b'"')),
    Case("text of 1 MiB without a blank", _event(b'"' + b"a" * MAX_TEXT_BYTES + b'"')),
    Case(
        "text of 1 MiB, 6 MiB as JSON, and the longest meta",
        _event(b'"' + b"\\u0001" * MAX_TEXT_BYTES + b'"', b', "meta": {"a": "' + b"x" * (MAX_META_BYTES - 8) + b'"}'),
    ),
    Case("text in many scripts", _event('"\\ud83d\\ude00 日本 עברית \ufeff \uffff"'.encode())),
    Case("meta of every type", _with_meta('{"": null, "a\\u0000": 18446744073709551616, "c": false, "d": "\ufeff"}'.encode())),
]


def _label(label: bytes, more: bytes = b"") -> bytes:
    return b'{"event_id": "x", "label": ' + label + more + b"}"


def _weighing(weight: bytes) -> bytes:
    return _label(b'"l"', b', "weight": ' + weight)


FEEDBACK = [
    *_common(b'"label": "l"'),
    Case("label missing", b'{"event_id": "x"}', Reason.INVALID_FIELD, "label"),
    Case("verdict unheard of", b'{"event_id": "x", "verdict": "maybe"}', Reason.INVALID_FIELD, "verdict"),
    Case("verdict a boolean", b'{"event_id": "x", "verdict": true}', Reason.INVALID_FIELD, "verdict"),
    Case("verdict null and no label", b'{"event_id": "x", "verdict": null}', Reason.INVALID_FIELD, "`$.label` or `$.verdict`"),
    Case("label and verdict", _label(b'"l"', b', "verdict": "right"'), Reason.INVALID_FIELD, "`$.verdict` stands in place of `$.label`"),
    Case("verdict with a text", b'{"event_id": "x", "verdict": "wrong", "text": "t"}', Reason.INVALID_FIELD, "no `$.text`"),
    Case("label null", _label(b"null"), Reason.INVALID_FIELD, "label"),
    Case("label a number", _label(b"1"), Reason.INVALID_FIELD, "label"),
    Case("label empty", _label(b'""'), Reason.INVALID_FIELD, "label"),
    Case("label of 257 characters", _label(b'"' + b"x" * 257 + b'"'), Reason.INVALID_FIELD, "label"),
    Case("label of 7 MiB", _label(b'"' + b"x" * 7 * 1024 * 1024 + b'"'), Reason.INVALID_FIELD, "label"),
    Case("label with a lone surrogate", _label(b'"\\ud800"'), Reason.NOT_JSON, "surrogate"),
    Case("label begins with a byte order mark", _label('"\ufeffspam"'.encode()), Reason.INVALID_FIELD, "label"),
    Case("label begins with a reversed byte order mark", _label('"\ufffe\u00d8"'.encode()), Reason.INVALID_FIELD, "label"),
    Case("feedback_id empty", _label(b'"l"', b', "feedback_id": ""'), Reason.INVALID_FIELD, "feedback_id"),
    Case("source too long", _label(b'"l"', b', "source": "' + b"x" * 257 + b'"'), Reason.INVALID_FIELD, "source"),
    Case("comment too long", _label(b'"l"', b', "comment": "' + b"x" * 4097 + b'"'), Reason.INVALID_FIELD, "comment"),
    Case("weight NaN", _weighing(b"NaN"), Reason.NOT_JSON),
    Case("weight Infinity", _weighing(b"Infinity"), Reason.NOT_JSON),
    Case("weight 1e999", _weighing(b"1e999"), Reason.INVALID_FIELD, "weight"),
    Case("weight 0", _weighing(b"0"), Reason.INVALID_FIELD, "weight"),
    Case("weight negative", _weighing(b"-1"), Reason.INVALID_FIELD, "weight"),
    Case("weight above 1000", _weighing(b"1000.1"), Reason.INVALID_FIELD, "weight"),
    Case("weight a string", _weighing(b'"1"'), Reason.INVALID_FIELD, "weight"),
    Case("weight the smallest there is", _weighing(b"5e-324")),
    Case("weight 1000", _weighing(b"1000")),
    Case("label of control characters", _label(b'"a\\u0000\\u001b/:\\n"')),
    Case("label of 256 characters", _label('"{}"'.format("😀" * 256).encode())),
]
