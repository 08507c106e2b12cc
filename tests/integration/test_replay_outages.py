"""A broker and a Redis that go away in the middle: sending, watching and reading go on when they are back, and all is exact."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from schemas.records import Feedback
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from stack import outbox, report
from stack.generator import generate
from stack.measured_run import MeasuredRun, Moment
from stack.process import Part
from stack.schedule import Plan
from stack.sender import Replay, Sent
from store.committed import end_offsets, read_committed
from store.labelled_files import Row
from tests.integration.played_jobs import Jobs, playing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

EVENTS = 600


@pytest.fixture
def settings(kafka_part: Part, redis_part: Part, topics: Callable[[str, str], None]) -> Settings:
    topics(kafka_part.address, "")
    return Settings(kafka=kafka_part.address, redis=f"redis://{redis_part.address}/0")


def back(part: Part) -> None:
    part.start()
    part.wait_healthy()


def test_a_run_outlasts_an_outage_of_kafka_and_redis(settings: Settings, kafka_part: Part, redis_part: Part, tmp_path: Path) -> None:
    plan = Plan(rate=100, label_delay_s=0.2, out_of_order=0.2, duplicates=0.2, corrections=0.2)
    run = MeasuredRun(settings=settings, plan=plan, dataset="generated", probe=None, ledger=tmp_path / "sent.jsonl")
    steps: list[float] = []

    def interfere(moment: Moment) -> None:
        """Stop both when the run is under way, and start them when the observer misses them."""
        if not steps and moment.sent.events > EVENTS // 4:
            kafka_part.stop()
            redis_part.stop()
            steps.append(time.monotonic())
        elif len(steps) == 1 and moment.status.away == ["Kafka", "Redis"] and time.monotonic() - steps[0] > 4:
            back(redis_part)
            back(kafka_part)
            steps.append(time.monotonic())

    with playing(Jobs(settings)):
        found = run.run(generate(EVENTS), on_moment=interfere, on_skip=lambda _: None)
    assert len(steps) == 2
    assert found is not None
    assert found.complete, found
    assert found.redis_matches_kafka, found.redis_differences
    assert found.events_records == found.events_records_sent > EVENTS
    # From the broker's time of a record: what it waited in the producer is not in it (docs/report.md).
    assert found.latency_ms.event_to_prediction.p99 is not None
    lines = [msgspec.json.decode(line) for line in (tmp_path / "sent.jsonl").read_bytes().splitlines()]
    assert not [line for line in lines if "error" in line]
    places = {(line["topic"], line["partition"], line["offset"]) for line in lines}
    assert len(places) == len(lines) == found.events_records_sent + found.labels_sent


def test_full_speed_waits_for_the_broker_with_bounded_memory(settings: Settings, kafka_part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "OPEN_RECORDS", 500)
    replay = Replay(kafka=settings.kafka, topic_prefix="", plan=Plan(label_delay_s=0, duplicates=0.3))
    taken = 0

    def rows() -> Iterator[Row]:
        nonlocal taken
        for row in generate(20_000):
            taken += 1
            yield row

    sender = threading.Thread(target=replay.send, args=(rows(),))
    sender.start()
    while replay.sent.events < 1000:
        time.sleep(0.01)
    kafka_part.stop()
    time.sleep(1)
    before = replay.sent.events
    time.sleep(2)
    assert replay.sent.events == before < 20_000, "nothing more is taken in than may wait"
    assert taken <= before + 2
    back(kafka_part)
    sender.join(120)
    assert not sender.is_alive()
    assert replay.sent.complete
    records = [r for t in (Topic.EVENTS, Topic.FEEDBACK) for batch in read_committed(settings.kafka, t) for r in batch]
    assert len(records) == replay.sent.events + replay.sent.repeated + replay.sent.labels
    events = [r for r in records if r.topic == Topic.EVENTS]
    order = [int(msgspec.json.decode(r.value)["event_id"].split("-")[1]) for r in events]
    first = list(dict.fromkeys(order))
    assert first == sorted(first) == list(range(20_000)), "what was tried again lies in its place"


def test_stopping_while_the_broker_is_away_ends_soon_and_the_ledger_names_what_was_under_way(
    settings: Settings, kafka_part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STOP_S", 1.0)
    ledger = tmp_path / "sent.jsonl"
    replay = Replay(kafka=settings.kafka, topic_prefix="", plan=Plan(rate=200, label_delay_s=0.1), ledger=ledger)
    results: list[Sent] = []
    sender = threading.Thread(target=lambda: results.append(replay.send(generate(100_000))))
    sender.start()
    while replay.sent.events < 100:
        time.sleep(0.01)
    assert ledger.exists()
    kafka_part.stop()
    at = replay.sent.events
    while replay.sent.events < at + 100:
        time.sleep(0.01)
    began = time.monotonic()
    replay.stop.set()
    sender.join(60)
    assert time.monotonic() - began < 20
    (sent,) = results
    assert not sent.complete
    assert sent.refused >= 100
    lines = [msgspec.json.decode(line) for line in ledger.read_bytes().splitlines()]
    refused = [line for line in lines if "error" in line]
    assert len(refused) == sent.refused
    assert {line["partition"] for line in refused} == {None}
    assert len(lines) == sent.events + sent.labels
    back(kafka_part)
    there = sum(sum(parts.values()) for parts in end_offsets(settings.kafka, [Topic.EVENTS, Topic.FEEDBACK]).values())
    assert len(lines) - len(refused) <= there <= len(lines)


def test_topics_are_read_again_when_the_broker_starts_again_in_the_middle(settings: Settings, kafka_part: Part) -> None:
    Replay(kafka=settings.kafka, topic_prefix="", plan=Plan(label_fraction=0)).send(generate(20_000))
    half, gone = threading.Event(), threading.Event()
    results: list[int] = []

    def read() -> int:
        count = 0
        for batch in read_committed(settings.kafka, Topic.EVENTS):
            count += len(batch)
            half.set()
            gone.wait(60)
        return count

    reader = threading.Thread(target=lambda: results.append(report.answered(read)))
    reader.start()
    assert half.wait(60)
    kafka_part.stop()
    gone.set()
    back(kafka_part)
    reader.join(120)
    assert results == [20_000]


def test_a_label_is_behind_the_earlier_ones_of_its_event(settings: Settings) -> None:
    plan = Plan(rate=0, label_delay_s=0.1, out_of_order=0.5, duplicates=0.5, corrections=0.5)
    Replay(kafka=settings.kafka, topic_prefix="", plan=plan, run_id="r").send(generate(2000))
    labels = [msgspec.json.decode(r.value, type=Feedback) for batch in read_committed(settings.kafka, Topic.FEEDBACK) for r in batch]
    right = {f"r-{number}": row.label for number, row in enumerate(generate(2000))}
    last = {label.event_id: label.label for label in labels}
    assert last == right


def test_a_replay_that_is_killed_leaves_no_file_and_no_process(settings: Settings, tmp_path: Path) -> None:
    temporary, stream = tmp_path / "tmp", tmp_path / "stream.jsonl"
    temporary.mkdir()
    stream.write_text('{"text": "a", "label": "b"}\n' * 10_000)
    command = [sys.executable, "-m", "stack", "replay", str(stream), "--rate", "50", "--report", str(tmp_path / "report.json")]
    # The broker and Redis are named by the environment: no stack runs on this data folder.
    environment = {**os.environ, **as_environment(settings), "TMPDIR": str(temporary), "MILLRACE_DATA_DIR": str(tmp_path / "none")}
    replay = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert replay.stdout is not None
    with replay.stdout:
        assert b"sent" in replay.stdout.readline()
        observers = psutil.Process(replay.pid).children()
        assert [path.name.startswith("millrace-observed-") for path in temporary.iterdir()] == [True]
        replay.kill()
        replay.wait()
    gone, alive = psutil.wait_procs(observers, timeout=60)
    assert (len(gone), alive) == (1, [])
    assert list(temporary.iterdir()) == []
