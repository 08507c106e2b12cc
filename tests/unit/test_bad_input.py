"""The table of bad input against the parsers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.json_schema import TOPIC_RECORDS
from schemas.log import LabelEntry
from schemas.parsing import MAX_META_BYTES, RejectRecord, encode, parse_event, parse_feedback, record_parser
from schemas.records import (
    MAX_ID,
    DeadLetter,
    Event,
    Feedback,
    FeedbackRef,
    LabelState,
    ModelVersion,
    Position,
    Prediction,
    Reason,
    Served,
    State,
)
from schemas.settings import Settings, SettingsError, read_settings
from schemas.topics import MAX_RECORD_BYTES, Topic, topic_specs
from stream.feedback import named
from tests.bad_input import DEFAULT_TASKS, EVENTS, FEEDBACK, MAX_TEXT_BYTES, Case

pytestmark = pytest.mark.unit

DOCUMENT = (Path(__file__).parents[2] / "docs" / "bad-input.md").read_text(encoding="utf-8")


def read(topic: Topic, value: bytes | None) -> Event | Feedback:
    if topic is Topic.EVENTS:
        return parse_event(value, tasks=DEFAULT_TASKS, max_text_bytes=MAX_TEXT_BYTES)
    return parse_feedback(value, tasks=DEFAULT_TASKS, max_text_bytes=MAX_TEXT_BYTES)


ALL = [
    pytest.param(topic, case, id=f"{topic}: {case.name}")
    for topic, cases in ((Topic.EVENTS, EVENTS), (Topic.FEEDBACK, FEEDBACK))
    for case in cases
]


@pytest.mark.parametrize(("topic", "case"), ALL)
def test_each_case_is_accepted_or_refused_for_its_reason(topic: Topic, case: Case) -> None:
    if case.reason is None:
        record = read(topic, case.value)
        assert read(topic, encode(record)) == record
        return
    with pytest.raises(RejectRecord) as caught:
        read(topic, case.value)
    assert (caught.value.reason, case.says in caught.value.detail) == (case.reason, True), caught.value
    assert len(caught.value.detail) < 5000


def test_of_a_field_that_is_there_twice_the_last_counts() -> None:
    assert read(Topic.EVENTS, b'{"event_id": "first", "event_id": "last", "text": "a", "text": "b"}') == Event(event_id="last", text="b")


@pytest.mark.parametrize("case", [case for case in FEEDBACK if case.reason], ids=lambda case: case.name)
def test_what_a_rejected_label_still_tells_fits_into_its_state(case: Case) -> None:
    event_id, task = named(case.value)
    assert event_id is None or 0 < len(event_id) <= MAX_ID
    assert task is None or isinstance(task, str)


def test_a_rejected_label_keeps_its_event_if_only_another_field_is_wrong() -> None:
    assert named(b'{"event_id": "e", "label": 5, "task": 7}') == ("e", None)
    assert named(b'{"event_id": 5, "task": "t"}') == (None, "t")


def longest(characters: int) -> str:
    """So many characters that take as much room as JSON as any can."""
    return "\x01" * characters


def test_no_accepted_event_makes_a_record_that_the_topics_do_not_take() -> None:
    most = read_settings({"MILLRACE_PROBA_TOP": "500"})
    proba = {f"{number:03}" + longest(MAX_ID - 3): 0.123456 for number in range(most.proba_top)}
    served = Served(label=longest(MAX_ID), proba=proba, classes=10**6, model=ModelVersion(line="base", seq=2**53))
    meta: dict[str, str | int | float | bool | None] = {"m": longest((MAX_META_BYTES - 10) // 6)}
    at = Position(partition=2**31, offset=2**63 - 1, time=2**47)
    event = Event(event_id=longest(MAX_ID), text=longest(most.max_text_bytes), meta=meta)
    assert read(Topic.EVENTS, encode(event)) == event
    prediction = Prediction(
        label=served.label, proba=proba, classes=served.classes, model=served.model, event_id=event.event_id, task="t" * 63,
        text=event.text, meta=meta, event_ts=2**47, predicted_at=2**47, source=at,
    )  # fmt: skip
    entry = LabelEntry(
        seq=2**53, task="t" * 63, time=2**47, event_id=event.event_id, text=event.text, meta=meta, label=longest(MAX_ID), weight=0.1,
        served=served, feedback=FeedbackRef(at=at, feedback_id=longest(MAX_ID), source=longest(MAX_ID)), corrects=longest(MAX_ID),
    )  # fmt: skip
    keys_and_headers = 64 * 1024
    assert max(map(len, map(encode, (prediction, entry)))) + keys_and_headers < MAX_RECORD_BYTES
    state = LabelState(event_id=event.event_id, task="t", state=State.REJECTED, feedback=entry.feedback, reason="x" * 5000, time=2**47)
    assert record_parser(LabelState)(encode(state)) == state


@pytest.mark.parametrize("setting", ["MILLRACE_MAX_TEXT_BYTES=1048577", "MILLRACE_PROBA_TOP=501"])
def test_the_settings_cannot_break_that(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})


def test_what_comes_from_outside_is_stamped_by_the_broker() -> None:
    types = {spec.topic: spec.config.get("message.timestamp.type") for spec in topic_specs(partitions=1)}
    assert types[Topic.EVENTS] == types[Topic.FEEDBACK] == types[Topic.PREDICTIONS] == "LogAppendTime"


def test_the_document_has_a_row_for_each_reason_and_the_limits_in_force() -> None:
    for reason in Reason:
        assert f"`{reason}`" in DOCUMENT
    assert Settings().max_text_bytes == MAX_TEXT_BYTES == 1024 * 1024
    assert MAX_META_BYTES == 64 * 1024
    assert re.search(r"\b1 MiB\b", DOCUMENT)
    assert re.search(r"\b64 KiB\b", DOCUMENT)
    assert DeadLetter in TOPIC_RECORDS.values()
