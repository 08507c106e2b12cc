"""What `millrace dead-letters` does without a broker: arguments, and how bytes are made visible."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.parsing import RejectRecord, dead_letter
from schemas.records import DeadLetter, Position, Reason
from stack.cli import main
from stack.dead_letter_list import Choice, Place, as_line, as_page, parse_place, reason_counts, visible
from stack.times import moment

pytestmark = pytest.mark.unit


def letter(value: bytes, *, offset: int = 0, reason: Reason = Reason.NOT_JSON, detail: str = "why", now: int = 5) -> DeadLetter:
    return dead_letter(value, topic="events", at=Position(partition=1, offset=offset), error=RejectRecord(reason, detail), now=now)


@given(st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
def test_a_place_survives_the_round_trip(topic: str, partition: int, offset: int) -> None:
    place = Place(topic, partition, offset)
    assert parse_place(str(place)) == place


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_an_error_that_says_how_one_looks(text: str) -> None:
    try:
        place = parse_place(text)
    except ValueError as error:
        said = str(error)
    else:
        said = f"TOPIC:PARTITION:OFFSET {place}"
    assert "TOPIC:PARTITION:OFFSET" in said


@given(st.binary(max_size=60))
def test_no_byte_reaches_the_terminal_unseen(data: bytes) -> None:
    assert all(character.isprintable() or character in "\n\t" for character in visible(data))


def test_a_letter_is_one_line_and_its_page_has_every_field() -> None:
    one = letter(b"\xff\x1b]0;title\x07", detail="a\nb\x1b" + "c" * 200)
    assert "\n" not in as_line(one)
    assert as_line(one).endswith("…")
    page = as_page(one)
    assert "\x1b" not in page + as_line(one)
    for shown in ("events:1:0", "not_json", "11 bytes", one.sha256, r"\xff\x1b]0;title\x07", "1970-01-01 00:00:00.005Z"):
        assert shown in page


def test_a_choice_is_all_that_is_given() -> None:
    one = letter(b"", reason=Reason.NOT_UTF8, now=100)
    assert Choice().fits(one)
    assert Choice(topic="events", reason="not_utf8", since=100, places={Place("events", 1, 0)}).fits(one)
    for other in (Choice(topic="feedback"), Choice(reason="not_json"), Choice(since=101), Choice(places={Place("events", 1, 1)})):
        assert not other.fits(one)
    assert list(reason_counts([letter(b""), one, letter(b"")]).items()) == [("not_json", 2), ("not_utf8", 1)]


def test_since_is_an_age_or_a_time() -> None:
    assert abs(moment("2h") - (time.time() - 7200) * 1000) < 5000
    assert moment("1970-01-01T00:00:01") == moment("1970-01-01T01:00:01+01:00") == 1000


@pytest.mark.parametrize(
    "arguments",
    [[], ["list", "--since", "yesterday"], ["list", "--reason", "bad"], ["list", "--limit", "-1"], ["show"], ["show", "events:1"]],
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dead-letters", *arguments])
    assert ended.value.code == 2
    assert "usage: millrace dead-letters" in capsys.readouterr().err
