import argparse
import itertools
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Event, Feedback
from schemas.topics import Topic
from stack import replay
from stack.measured_run import Patience, unfinished
from stack.observe import Status
from stack.sender import Plan, Sent, new_run_id, sends
from stack.source_files import Row

pytestmark = pytest.mark.unit

ROWS = [Row(f"text {n}", "ab"[n % 2] if n % 5 else None, n, {"n": n}) for n in range(200)]


@given(
    rate=st.sampled_from([0.0, 1.0, 10.0, 1000.0]),
    fraction=st.floats(0, 1),
    delay=st.floats(0, 30),
    seed=st.integers(),
    limit=st.none() | st.integers(1, 300),
)
def test_laws_of_the_schedule(rate: float, fraction: float, delay: float, seed: int, limit: int | None) -> None:
    ticks = itertools.count()
    plan = Plan(rate=rate, label_fraction=fraction, label_delay_s=delay, seed=seed, limit=limit)
    out = list(sends(ROWS, plan, "r", lambda: next(ticks) / 100))
    dues = [s.due for s in out]
    assert dues == sorted(dues)
    events = [s for s in out if s.topic is Topic.EVENTS]
    expected = ROWS[:limit]
    assert [(s.record.event_id, s.record.text) for s in events if isinstance(s.record, Event)] == [
        (f"r-{n}", row.text) for n, row in enumerate(expected)
    ]
    due_of = {s.record.event_id: s.due for s in events}
    labels = [s for s in out if s.topic is Topic.FEEDBACK]
    assert len({s.record.event_id for s in labels}) == len(labels)
    for s in labels:
        assert isinstance(s.record, Feedback)
        row = ROWS[int(s.record.event_id.removeprefix("r-"))]
        assert s.record.label == row.label
        assert s.due == due_of[s.record.event_id] + delay
        assert out.index(s) > out.index(next(e for e in events if e.record.event_id == s.record.event_id))


def test_label_fraction_and_seed() -> None:
    def chosen(fraction: float, seed: int) -> list[str]:
        plan = Plan(rate=10, label_fraction=fraction, seed=seed)
        rows = (Row("x", "y") for _ in range(10_000))
        return [s.record.event_id for s in sends(rows, plan, "r", time.monotonic) if s.topic is Topic.FEEDBACK]

    assert len(chosen(1.0, 0)) == 10_000
    assert chosen(0.0, 0) == []
    assert 1850 < len(chosen(0.2, 0)) < 2150
    assert chosen(0.2, 0) == chosen(0.2, 0) != chosen(0.2, 1)


def test_run_ids_differ() -> None:
    assert len({new_run_id() for _ in range(100)}) == 100


def test_unfinished_counts_dead_letters_and_rejected_labels_as_done() -> None:
    sent = Sent(run_id="r", started=0.0, events=10, labels=4)
    status = Status(predictions=9, visible=9, dead_letters={"events": 1, "feedback": 1}, states={"trained": 2, "duplicate": 1})
    assert unfinished(sent, status) == []
    status.states = {"trained": 2, "rejected": 1}
    assert unfinished(sent, status) == ["1 of 4 labels are in no final state yet"]
    status.states = {"trained": 3, "waiting": 1}
    status.dead_letters = {}
    assert unfinished(sent, status) == ["1 of 10 events have no prediction yet", "1 of 4 labels are in no final state yet"]


def test_patience_begins_anew_with_progress() -> None:
    patience = Patience(10, now=0)
    assert not any(patience.exhausted(n, now=float(n)) for n in range(0, 100, 9))
    assert patience.exhausted(99, now=105) is False
    assert patience.exhausted(99, now=116) is True


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    replay.add_parser(parser.add_subparsers())
    return parser.parse_args(["replay", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["f", "--rate", "-1"],
        ["f", "--rate", "inf"],
        ["f", "--label-fraction", "1.5"],
        ["f", "--label-delay-s", "nan"],
        ["f", "--limit", "0"],
        ["f", "--task", "A B"],
        [],
    ],
)
def test_wrong_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(*words)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "message"), [("no.jsonl", "no such file"), ("empty.jsonl", "the file is empty")])
def test_a_wrong_file_gives_a_message(tmp_path: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    args = parsed(str(tmp_path / name), "--kafka", "127.0.0.1:1")
    assert args.func(args) == 2
    assert message in capsys.readouterr().err


def test_signals_set_the_stop_and_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = threading.Event()
    with replay.stopped_by_signals(stop):
        signal.raise_signal(signal.SIGINT)
    assert stop.is_set()
    assert signal.getsignal(signal.SIGINT) is before
