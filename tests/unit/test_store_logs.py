"""A log line is one JSON object that says when, how bad, where, and what; never what a user wrote."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.logs import log_as_json

pytestmark = pytest.mark.unit


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """A file that all logging goes to until the test ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log_as_json("shop", file=tmp_path / "logs" / "api.log")
    yield tmp_path / "logs" / "api.log"
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_what_every_line_has_and_what_was_given(log_file: Path) -> None:
    logging.getLogger("somewhere").warning("%d things\nat once", 3, extra={"task": "☃"})
    logging.getLogger("somewhere").debug("too little")
    [line] = lines(log_file)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"level": "warning", "application": "shop", "logger": "somewhere", "event": "3 things\nat once", "task": "☃"}
    assert [*json.loads(log_file.read_text())][:3] == ["time", "level", "application"]


def test_an_exception_is_told_by_kind_and_place_without_its_text(log_file: Path) -> None:
    try:
        raise ValueError("the text of a user")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    [line] = lines(log_file)
    assert line["error"] == "ValueError"
    assert "test_an_exception_is_told" in str(line["at"])
    assert "the text of a user" not in log_file.read_text()
