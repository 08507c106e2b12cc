import argparse
import itertools
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Event, Feedback
from schemas.topics import Topic
from stack import replay
from stack.measured_run import Patience, unfinished
from stack.schedule import LABEL_SOURCE, LATER_S, NEAR, Plan, Send, sends
from stack.sender import Sent, new_run_id
from stack.watch import Status
from store.labelled_files import Row

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


def plain_sends(rows: list[Row], plan: Plan, clock: Callable[[], float]) -> Iterator[Send]:
    """What was sent before there were faults."""
    draw = random.Random(plan.seed).random
    waiting: deque[Send] = deque()
    for number, row in enumerate(rows):
        if number == plan.limit:
            break
        due = number / plan.rate if plan.rate else clock()
        while waiting and waiting[0].due <= due:
            yield waiting.popleft()
        yield Send(due, Topic.EVENTS, Event(event_id=f"r-{number}", text=row.text, ts=row.ts, task=plan.task, meta=row.meta))
        if row.label is not None and draw() < plan.label_fraction:
            label = Feedback(event_id=f"r-{number}", label=row.label, task=plan.task, source=LABEL_SOURCE)
            waiting.append(Send(due + plan.label_delay_s, Topic.FEEDBACK, label))
    yield from waiting


@given(
    rate=st.sampled_from([0.0, 1.0, 10.0, 1000.0]),
    fraction=st.floats(0, 1),
    delay=st.sampled_from([0.0, 0.1, 0.3, 2.0]),
    seed=st.integers(),
    limit=st.none() | st.integers(1, 300),
)
def test_without_faults_the_sends_are_what_they_always_were(
    rate: float, fraction: float, delay: float, seed: int, limit: int | None
) -> None:
    plan = Plan(rate=rate, label_fraction=fraction, label_delay_s=delay, seed=seed, limit=limit)
    one, other = itertools.count(), itertools.count()
    found = list(sends(ROWS, plan, "r", lambda: next(one) / 100))
    assert found == list(plain_sends(ROWS, plan, lambda: next(other) / 100))


def by_event(out: list[Send], topic: Topic) -> dict[str, list[Send]]:
    found: dict[str, list[Send]] = {}
    for send in out:
        if send.topic is topic:
            found.setdefault(send.record.event_id, []).append(send)
    return found


@given(
    rate=st.sampled_from([0.0, 10.0, 1000.0]),
    delay=st.sampled_from([0.0, 0.3, 2.0]),
    seed=st.integers(),
    shares=st.tuples(*[st.sampled_from([0.0, 0.2, 1.0])] * 3),
    limit=st.none() | st.integers(1, 50),
)
def test_laws_of_the_faults(rate: float, delay: float, seed: int, shares: tuple[float, float, float], limit: int | None) -> None:
    out_of_order, duplicates, corrections = shares
    plan = Plan(
        rate=rate, label_delay_s=delay, seed=seed, limit=limit, out_of_order=out_of_order, duplicates=duplicates, corrections=corrections
    )
    ticks, again = itertools.count(), itertools.count()
    out = list(sends(ROWS, plan, "r", lambda: next(ticks) / 100))
    assert out == list(sends(ROWS, plan, "r", lambda: next(again) / 100))
    assert [s.due for s in out] == sorted(s.due for s in out)
    rows = {f"r-{n}": row for n, row in enumerate(ROWS[:limit])}
    events, labels = by_event(out, Topic.EVENTS), by_event(out, Topic.FEEDBACK)
    assert events.keys() == rows.keys()
    assert labels.keys() == {event_id for event_id, row in rows.items() if row.label is not None}
    for event_id, sent in events.items():
        assert [s.again for s in sent] == [False, True][: len(sent)]
        records = [s.record for s in sent if isinstance(s.record, Event)]
        assert records[0] == Event(event_id=event_id, text=rows[event_id].text, ts=rows[event_id].ts, meta=rows[event_id].meta)
        assert all(record.text in {row.text for row in rows.values()} for record in records)
        assert duplicates or len(sent) == 1
        assert duplicates < 1 or len(sent) == 2
    for event_id, sent in labels.items():
        classes = [s.record.label for s in sent if isinstance(s.record, Feedback)]
        assert classes[-1] == rows[event_id].label, "the right label comes last"
        changes = [label for label, _ in itertools.groupby(classes)]
        assert len(changes) <= (2 if corrections else 1)
        assert len(classes) - len(changes) <= (len(changes) if duplicates else 0)
        if out_of_order == 1:
            assert out.index(sent[0]) < out.index(events[event_id][0])
        elif not out_of_order:
            assert sent[0].due == events[event_id][0].due + delay


def test_faults_have_the_shares_that_were_asked_for() -> None:
    rows = [Row(f"text {n}", "abc"[n % 3]) for n in range(20_000)]
    plan = Plan(rate=1000, label_fraction=0.5, label_delay_s=1.0, out_of_order=0.2, duplicates=0.1, corrections=0.3)
    out = list(sends(rows, plan, "r", lambda: 0.0))
    events, labels = by_event(out, Topic.EVENTS), by_event(out, Topic.FEEDBACK)
    quiet = Plan(rate=1000, label_fraction=0.5)
    assert labels.keys() == by_event(list(sends(rows, quiet, "r", lambda: 0.0)), Topic.FEEDBACK).keys(), "faults choose no labels"
    label_count = len(labels)

    def share(found: int, of: int) -> float:
        return found / of

    early = sum(out_of.due < events[event_id][0].due for event_id, (out_of, *_) in labels.items())
    assert share(early, label_count) == pytest.approx(0.2, abs=0.02)
    late = sum(first.due > events[event_id][0].due + 1.0001 for event_id, (first, *_) in labels.items())
    assert share(late, label_count - early) == pytest.approx(0.2, abs=0.02)
    wrong = sum(
        first.record.label != rows[int(event_id[2:])].label
        for event_id, (first, *_) in labels.items()
        if isinstance(first.record, Feedback)
    )
    assert share(wrong, label_count) == pytest.approx(0.3, abs=0.03)
    twice = [sent for sent in events.values() if len(sent) == 2]
    assert share(len(twice), len(rows)) == pytest.approx(0.1, abs=0.01)
    same_text = sum(a.record == b.record for a, b in twice)
    assert share(same_text, len(twice)) == pytest.approx(0.5, abs=0.05)
    records = [s.record for sent in labels.values() for s in sent if isinstance(s.record, Feedback)]
    repeats = len(records) - label_count - wrong
    assert share(repeats, label_count + wrong) == pytest.approx(0.1, abs=0.02)
    assert share(sum(record.feedback_id is not None for record in records), repeats) == pytest.approx(0.5, abs=0.1)
    order = [int(s.record.event_id[2:]) for s in out if s.topic is Topic.EVENTS and not s.again and s.due == round(s.due * 1000) / 1000]
    moved = [abs(n - round(s * 1000)) for n, s in ((int(e[2:]), sent[0].due) for e, sent in events.items()) if s == round(s * 1000) / 1000]
    assert order != sorted(order)
    assert sum(distance > 0 for distance in moved) > 0.2 * len(rows)
    assert sum(distance > 3 * NEAR for distance in moved) < 0.01 * len(rows)


def test_what_waits_is_bounded_by_the_longest_delay() -> None:
    taken = 0

    def rows() -> Iterator[Row]:
        nonlocal taken
        for n in range(100_000):
            taken += 1
            yield Row(f"text {n}", "ab"[n % 2])

    plan = Plan(rate=1000, label_delay_s=0.5, out_of_order=1.0, duplicates=1.0, corrections=1.0)
    sent = sends(rows(), plan, "r", lambda: 0.0)
    for _ in range(20_000):
        last = next(sent)
        assert taken <= last.due * 1000 + NEAR + 2, "no row is read before its time"
    assert LATER_S == 1.0


def test_flags_of_the_faults_take_a_share_or_none() -> None:
    args = parsed("f", "--out-of-order", "--duplicates", "0.5", "--corrections")
    plan = replay.plan_of(args)
    assert (plan.out_of_order, plan.duplicates, plan.corrections) == (0.2, 0.5, 0.2)
    plan = replay.plan_of(parsed("f"))
    assert (plan.out_of_order, plan.duplicates, plan.corrections) == (0.0, 0.0, 0.0)


def test_a_file_that_is_taken_for_a_share_is_told_where_it_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--duplicates", "my.jsonl")
    assert "'my.jsonl' is no share from 0 to 1; the file to send comes before the flags" in capsys.readouterr().err


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
    status = Status(predictions=9, records=9, visible=9, dead_letters={"events": 1, "feedback": 1}, states={"trained": 2, "duplicate": 1})
    assert unfinished(sent, status) == []
    status.states = {"trained": 2, "rejected": 1}
    assert unfinished(sent, status) == ["1 of 4 labels are in no final state yet"]
    status.states = {"trained": 3, "waiting": 1}
    status.dead_letters = {}
    assert unfinished(sent, status) == ["1 of 10 events have no prediction yet", "1 of 4 labels are in no final state yet"]
    sent.repeated = 2
    assert unfinished(sent, status)[0] == "3 of 12 events have no prediction yet"


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
        ["f", "--out-of-order", "1.1"],
        ["f", "--duplicates", "-0.1"],
        ["f", "--corrections", "nan"],
        ["f", "--events", "0"],
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
