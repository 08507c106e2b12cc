"""Which trace contexts are valid, by the rules of W3C Trace Context."""

from __future__ import annotations

import pytest

from schemas.traceparent import valid_traceparent

pytestmark = pytest.mark.unit

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("value", [GOOD, f"00-{TRACE}-{PARENT}-00", f"00-{'0' * 31}1-{PARENT}-ff"])
def test_a_valid_one_is_kept(value: str) -> None:
    assert valid_traceparent(value.encode()) == value


@pytest.mark.parametrize("value", [f"01-{TRACE}-{PARENT}-01", f"fe-{TRACE}-{PARENT}-01-what-the-future-brings"])
def test_one_of_a_later_version_is_kept_as_far_as_it_is_known(value: str) -> None:
    assert valid_traceparent(value.encode()) == GOOD


@pytest.mark.parametrize(
    "value",
    [
        "", "x", GOOD[:-1], GOOD + "0", GOOD + "-more", GOOD + "\n", " " + GOOD, GOOD.upper(), GOOD.replace("-", "_"), f"ff{GOOD[2:]}",
        f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"01{GOOD[2:]}more", GOOD.replace("4", "\N{FULLWIDTH DIGIT FOUR}"),
    ],
)  # fmt: skip
def test_anything_else_is_ignored(value: str) -> None:
    assert valid_traceparent(value.encode()) is None


def test_none_and_bytes_that_are_no_text_are_ignored() -> None:
    assert valid_traceparent(None) is None
    assert valid_traceparent(b"\xff\x00" + GOOD.encode()) is None
