from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from online_model import changes
from online_model.prequential import scored
from online_model.replica import Replica
from schemas.json_schema import TOPIC_RECORDS
from schemas.log import LabelEntry, LogEntry
from schemas.parsing import (
    HEAD_BYTES,
    MAX_COMMAND_BYTES,
    RejectRecord,
    dead_letter,
    encode,
    parse_command,
    parse_event,
    parse_feedback,
    parse_log_entry,
    record_parser,
)
from schemas.records import DeadLetter, Event, Feedback, LabelState, Position, Reason, Record
from schemas.topics import MAX_RECORD_BYTES

pytestmark = pytest.mark.unit

TASKS = {"default", "other"}
DEEP = b"[" * 100_000


def event(value: bytes | None, max_text_bytes: int = 1000) -> Event:
    return parse_event(value, tasks=TASKS, max_text_bytes=max_text_bytes)


def feedback(value: bytes | None, max_text_bytes: int = 1000) -> Feedback:
    return parse_feedback(value, tasks=TASKS, max_text_bytes=max_text_bytes)


# What a JSON string can hold: all of Unicode but lone surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
short = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\ufffe"), min_size=1, max_size=30)
ms = st.integers(0, 253_402_300_799_999)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
meta = st.dictionaries(text, text | numbers | st.booleans() | st.none(), max_size=4)
task = st.sampled_from(sorted(TASKS))
weight = st.floats(0, 1000, exclude_min=True)

events = st.builds(Event, v=st.just(1), event_id=short, text=text, ts=ms | st.none(), task=task, meta=meta)
feedbacks = st.builds(
    Feedback,
    v=st.just(1),
    event_id=short,
    label=short,
    verdict=st.none(),
    text=short | st.none(),
    feedback_id=short | st.none(),
    task=task,
    ts=ms | st.none(),
    source=text | st.none(),
    weight=weight,
    comment=text | st.none(),
)

verdicts = feedbacks.flatmap(
    lambda label: st.builds(
        msgspec.structs.replace, st.just(label), label=st.none(), text=st.none(), verdict=st.sampled_from(["right", "wrong"])
    )
)

RECORD_TYPES: list[type[Record]] = sorted(
    {kind for union in TOPIC_RECORDS.values() for kind in getattr(union, "__args__", (union,))}, key=lambda kind: kind.__name__
)


def records_of(kind: type[Record]) -> st.SearchStrategy[Any]:
    """Any record of a type, built from its annotations: a new field is covered without a change here."""
    return struct_of(kind, v=st.just(1))


def struct_of(kind: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = {field.name: values_of(msgspec.inspect.type_info(field.type)) for field in msgspec.structs.fields(kind)}
    return st.builds(kind, **{**fields, **given})


def values_of(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    return STRATEGIES[type(info)](info)


STRATEGIES: dict[type, Callable[[Any], st.SearchStrategy[Any]]] = {
    msgspec.inspect.NoneType: lambda _: st.none(),
    msgspec.inspect.BoolType: lambda _: st.booleans(),
    msgspec.inspect.IntType: lambda info: st.integers(info.ge if info.ge is not None else -(2**63), info.le or 2**63 - 1),
    msgspec.inspect.FloatType: lambda info: (
        st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False) if info.gt is None else weight
    ),
    msgspec.inspect.StrType: lambda info: short if info.min_length else task if info.pattern else text,
    msgspec.inspect.EnumType: lambda info: st.sampled_from(list(info.cls)),
    msgspec.inspect.LiteralType: lambda info: st.sampled_from(info.values),
    msgspec.inspect.DictType: lambda info: st.dictionaries(text, values_of(info.value_type), max_size=3),
    msgspec.inspect.ListType: lambda info: st.lists(values_of(info.item_type), max_size=3),
    msgspec.inspect.VarTupleType: lambda info: st.lists(values_of(info.item_type), max_size=3).map(tuple),
    msgspec.inspect.UnionType: lambda info: st.one_of([values_of(part) for part in info.types]),
    msgspec.inspect.StructType: lambda info: struct_of(info.cls),
}


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_record_survives_the_round_trip(kind: type[Record], data: st.DataObject) -> None:
    record = data.draw(records_of(kind))
    parse = parse_log_entry if issubclass(kind, LogEntry) else record_parser(kind)
    value = encode(record)
    assert parse(value) == record
    assert value == encode(parse(value))
    assert value.decode("utf-8")


@given(events)
def test_an_event_that_we_wrote_is_accepted(record: Event) -> None:
    assert event(encode(record)) == record


@given(feedbacks | verdicts)
def test_a_label_that_we_wrote_is_accepted(record: Feedback) -> None:
    assert feedback(encode(record)) == record


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from(["default", "a", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["v", "event_id", "text", "ts", "task", "meta", "label", "verdict", "weight", "source", "comment", "feedback_id"])
json_bytes = st.dictionaries(names, json_values).map(lambda fields: json.dumps(fields).encode())
broken = st.tuples(json_bytes, st.integers(0, 200), st.binary(max_size=4)).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)


@given(st.none() | st.binary(max_size=200) | json_bytes | broken)
@example(b'{"event_id": 5, "x": ' + DEEP)
@example(b'{"event_id": "a", "text": "t", "label": "l", "x": ' + DEEP)
@example(b'{"v": ' + b"9" * 5000 + b"}")
@example(b'{"event_id": "\\ud800", "text": "t", "label": "l"}')
@example(b'{"event_id": "\xed\xa0\x80", "text": "t", "label": "l"}')
@example(b'{"event_id": "a", "text": "t", "label": "l", "weight": 1e999, "meta": {"a": NaN}}')
def test_any_bytes_are_a_record_or_a_rejection_and_nothing_else(value: bytes | None) -> None:
    for parse in (event, feedback):
        try:
            record = parse(value)
        except RejectRecord as error:
            letter = dead_letter(value, topic="events", at=Position(partition=0, offset=1), error=error, now=2)
            assert record_parser(DeadLetter)(encode(letter)) == letter
        else:
            assert parse(encode(record)) == record


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NULL_VALUE),
        (b"", Reason.NOT_JSON),
        (b"\xff", Reason.NOT_UTF8),
        (b'{"event_id": "a", "text": "t"', Reason.NOT_JSON),
        (b'{"event_id": "a", "text": "t"} {}', Reason.NOT_JSON),
        (b'{"event_id": "a", "text": "\xff"}', Reason.NOT_UTF8),
        (b'["a"]', Reason.INVALID_FIELD),
        (b'{"event_id": "a"}', Reason.INVALID_FIELD),
        (b'{"event_id": "", "text": "t"}', Reason.INVALID_FIELD),
        (b'{"event_id": "%s", "text": "t"}' % (b"a" * 257), Reason.INVALID_FIELD),
        (b'{"event_id": "a", "text": "t", "ts": -1}', Reason.INVALID_FIELD),
        (b'{"event_id": "a", "text": "t", "ts": "2026"}', Reason.INVALID_FIELD),
        (b'{"event_id": "a", "text": "t", "meta": {"a": []}}', Reason.INVALID_FIELD),
        (b'{"event_id": "a", "text": "t", "task": "A"}', Reason.INVALID_FIELD),
        (b'{"event_id": "a", "text": "t", "task": "unheard"}', Reason.UNKNOWN_TASK),
        (b'{"v": 2, "event_id": "a", "text": "t"}', Reason.UNKNOWN_VERSION),
        (b'{"v": 2, "id": "a", "body": {"text": "t"}}', Reason.UNKNOWN_VERSION),
        (b'{"event_id": 5, "x": ' + DEEP, Reason.INVALID_FIELD),
    ],
)
def test_an_event_is_rejected_for_the_reason_that_its_sender_can_act_on(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(RejectRecord) as caught:
        event(value)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize("weight", ["0", "-1", "1001", "1e999", '"1"'])
def test_a_weight_outside_its_range_is_rejected(weight: str) -> None:
    with pytest.raises(RejectRecord) as caught:
        feedback(f'{{"event_id": "a", "label": "b", "weight": {weight}}}'.encode())
    assert caught.value.reason == Reason.INVALID_FIELD
    assert "weight" in caught.value.detail


@given(short, st.integers(1, 40))
def test_the_length_of_a_text_counts_in_utf8_bytes(body: str, most: int) -> None:
    value = encode(Event(event_id="a", text=body))
    label = encode(Feedback(event_id="a", label="b", text=body))
    if len(body.encode()) <= most:
        assert event(value, most).text == feedback(label, most).text == body
    else:
        for parse, record in ((event, value), (feedback, label)):
            with pytest.raises(RejectRecord) as caught:
                parse(record, most)
            assert caught.value.reason == Reason.TEXT_TOO_LONG


def test_a_label_cannot_bring_an_empty_text() -> None:
    with pytest.raises(RejectRecord) as caught:
        feedback(b'{"event_id": "a", "label": "b", "text": ""}')
    assert caught.value.reason == Reason.INVALID_FIELD
    assert "$.text" in caught.value.detail


def test_a_log_entry_from_before_self_contained_labels_is_read() -> None:
    served = {"label": "a", "proba": {"a": 1.0}, "classes": 1, "model": {"line": "base", "seq": 3}}
    entry = {"kind": "label", "v": 1, "seq": 4, "task": "default", "time": 5, "event_id": "e", "text": "t", "meta": {}, "label": "b"}
    rest = {"weight": 1.0, "feedback": {"at": {"partition": 0, "offset": 7, "time": 4}, "feedback_id": None, "source": None}}
    read = parse_log_entry(json.dumps({**entry, **rest, "served": served, "corrects": None}).encode())
    assert isinstance(read, LabelEntry)
    assert read.served is not None
    assert (read.served.label, read.corrects) == ("a", None)


def test_labels_states_and_entries_from_before_verdicts_are_read() -> None:
    """As that version wrote them: a field less in each."""
    ref = '{"at":{"partition":0,"offset":7,"time":4},"feedback_id":"f","source":null,"reviewer":null,"drawn":null}'
    head = '{"v":1,"event_id":"e","label":"b","text":null,"feedback_id":"f","task":"default","ts":null'
    sent = feedback(f'{head},"source":null,"weight":1.0,"comment":null,"reviewer":null,"drawn":null}}'.encode())
    assert (sent.label, sent.verdict) == ("b", None)
    served = '"served":{"label":"a","proba":{"a":1.0},"classes":1,"model":{"line":"base","seq":3}}'
    head = '{"kind":"label","v":1,"seq":4,"task":"default","time":5,"event_id":"e","text":"t","meta":{},"label":"b","weight":1.0'
    entry = parse_log_entry(f'{head},{served},"feedback":{ref},"corrects":null}}'.encode())
    assert isinstance(entry, LabelEntry)
    assert (entry.marked, entry.feedback.verdict) == (False, None)
    assert scored(entry) == entry.served
    head = '{"v":1,"event_id":"e","task":"default","state":"trained","previous":null'
    rest = '"label":"b","seq":4,"served":"a","score":{"correct":false,"log_loss":16.1},"reason":null,"time":5}'
    state = record_parser(LabelState)(f'{head},"feedback":{ref},{rest}'.encode())
    assert (state.state, state.comment, state.feedback.feedback_id) == ("trained", None, "f")


def test_unknown_fields_are_ignored_so_that_senders_may_have_their_own() -> None:
    assert event(b'{"event_id": "a", "text": "t", "lang": ["de"]}') == Event(event_id="a", text="t")


@pytest.mark.parametrize("length", [0, HEAD_BYTES, HEAD_BYTES + 1])
def test_a_dead_letter_tells_the_whole_value_by_its_hash_and_keeps_the_head(length: int) -> None:
    value = bytes(range(256)) * (length // 256) + b"x" * (length % 256)
    error = RejectRecord(Reason.NOT_JSON, "why")
    letter = dead_letter(value, topic="events", at=Position(partition=3, offset=9), error=error, now=5)
    assert base64.b64decode(letter.head) == value[:HEAD_BYTES]
    assert (letter.length, letter.sha256) == (length, hashlib.sha256(value).hexdigest())
    assert (letter.partition, letter.offset, letter.time, letter.detail) == (3, 9, 5, "why")


def test_an_unreadable_entry_of_our_own_log_is_an_error_not_a_rejection() -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_log_entry(b'{"kind": "unheard", "seq": 1, "task": "default", "time": 0}')


def test_the_entry_that_answers_a_command_fits_into_a_record_whatever_the_command_holds() -> None:
    """Numbers grow when we write them; an entry that the broker does not take would end the job, again and again."""
    start = b'{"command_id":"1","task":"default","do":"shadow","line":"r1","by":"ann","metrics":{'
    count = (MAX_COMMAND_BYTES - len(start) - 2) // len(b'"0000":9e15,')
    longest = start + b",".join(b'"%04x":9e15' % number for number in range(count)) + b"}}"
    command = parse_command(longest, tasks=TASKS)
    entry = changes.refusal(Replica("default", memory_mib=1), command, "x" * 10_000_000, now=0)
    assert len(encode(entry)) < MAX_RECORD_BYTES // 4
    with pytest.raises(RejectRecord, match="at most"):
        parse_command(longest + b" " * MAX_COMMAND_BYTES, tasks=TASKS)
