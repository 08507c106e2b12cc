import os
import time
from pathlib import Path

import msgspec
import pytest

from stack import report
from stack.sent_ledger import LedgerError, RefusedLine, SentLedger, SentLine
from store.connect import RedisUnavailable

pytestmark = pytest.mark.unit

LINE = SentLine(topic="events", partition=1, offset=5, event_id="r-1", label=None, sha256="ab", ms=7)


def test_lines_reach_the_file_within_a_second_and_all_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sent.jsonl"
    with SentLedger(path) as ledger:
        ledger.add(LINE)
        deadline = time.monotonic() + 1.0
        while not path.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        refused = RefusedLine(topic="feedback", partition=None, offset=None, event_id="r-1", label="x\ny", sha256="cd", ms=8, error="late")
        ledger.add(refused)
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert lines == [msgspec.to_builtins(LINE), msgspec.to_builtins(refused)]
    assert list(lines[0]) == ["topic", "partition", "offset", "event_id", "label", "sha256", "ms"]


def test_a_ledger_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    path.write_text("of an earlier run\n")
    with SentLedger(path):
        pass
    assert path.read_bytes() == b""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"the ledger cannot be written: Is a directory"):
        SentLedger(tmp_path)


def test_a_file_that_takes_no_more_is_named_while_sending_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    ledger = SentLedger(path)
    os.close(reader)
    ledger.add(LINE)
    deadline = time.monotonic() + 5.0
    with pytest.raises(LedgerError, match="pipe: the ledger cannot be written: Broken pipe"):
        check_until(ledger, deadline)
    with pytest.raises(LedgerError, match="Broken pipe"):
        ledger.__exit__(None, None, None)


def check_until(ledger: SentLedger, deadline: float) -> None:
    while time.monotonic() < deadline:
        ledger.check()
        time.sleep(0.01)


def test_a_server_is_asked_until_it_answers_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_ASK_AGAIN_S", 0.0)
    answers = iter([RedisUnavailable("away"), RedisUnavailable("away"), "here"])

    def ask() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert report.answered(ask) == "here"
    monkeypatch.setattr(report, "OUTAGE_S", 0.0)
    answers = iter([RedisUnavailable("still away")] * 2)
    with pytest.raises(RedisUnavailable, match="still away"):
        report.answered(ask)
