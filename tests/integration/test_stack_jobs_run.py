"""A stack with a job: it resumes from its savepoint, from its checkpoint when the JobManager was lost, or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from schemas.metrics import JOBS, metric, shown_by_flink
from schemas.parsing import encode
from schemas.records import Event
from schemas.topics import Topic
from stack.cli import main
from stack.embedded import Stack
from stack.jobs import History, local_path
from stack.ports import NAMES
from stack.state import Condition, JobState

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def the_job(stack: Stack) -> JobState:
    return stack.state().jobs[0]


def wait_until(stack: Stack, condition: Callable[[JobState], bool], *, timeout_s: float = 240) -> JobState:
    deadline = time.monotonic() + timeout_s
    while not condition(job := the_job(stack)):
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
    return job


def send(stack: Stack, *ids: str) -> None:
    producer = KafkaProducer(bootstrap_servers=stack.settings.kafka)
    for event_id in ids:
        producer.send(Topic.EVENTS, encode(Event(event_id=event_id, text="a text")), key=event_id.encode())
    producer.flush()
    producer.close()


def predicted(stack: Stack, count: int, *, timeout_s: float = 120) -> int:
    """Wait for so many committed predictions, a little longer for any that should not be there, and return how many there are."""
    consumer = KafkaConsumer(bootstrap_servers=stack.settings.kafka, isolation_level="read_committed", auto_offset_reset="earliest")
    consumer.assign([TopicPartition(Topic.PREDICTIONS, number) for number in consumer.partitions_for_topic(Topic.PREDICTIONS)])
    found, deadline = 0, time.monotonic() + timeout_s
    while found < count:
        assert time.monotonic() < deadline, found
        found += sum(map(len, consumer.poll(timeout_ms=200).values()))
    found += sum(map(len, consumer.poll(timeout_ms=2000).values()))
    consumer.close()
    return found


def counted(stack: Stack, name: str) -> dict[tuple[str, ...], float]:
    """What the operators have counted, as the TaskManager shows it: by job and the metric's own labels."""
    known = metric(JOBS, name)
    page = requests.get(stack.state().addresses.metrics["taskmanager"], timeout=30).text
    samples = [
        sample for family in text_string_to_metric_families(page) for sample in family.samples if sample.name == shown_by_flink(known)
    ]
    return {tuple(sample.labels[label] for label in ("job_name", *known.labels)): sample.value for sample in samples}


def test_a_job_resumes_from_what_it_has_also_from_older_states_and_is_refused_when_all_are_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = Stack(tmp_path, ports=dict.fromkeys(NAMES, 0), jobs=("classify",), environment={})
    arguments = ["--data-dir", str(tmp_path)]
    stack.start()
    try:
        send(stack, "1", "2")
        assert predicted(stack, 2) == 2
        assert counted(stack, "millrace_events") == {("classify",): 2}
        assert counted(stack, "millrace_predictions") == {("classify", "default"): 2}
        stack.stop()
        savepoint = History(stack.folder.jobs).of("classify")[-1].savepoint
        assert savepoint is not None

        stack.start()
        job = the_job(stack)
        assert job.started_from == savepoint
        send(stack, "3")
        assert predicted(stack, 3) == 3

        wait_until(stack, lambda job: job.checkpoints_completed > 0)
        os.kill(stack.pids()["jobmanager"], signal.SIGKILL)
        again = wait_until(stack, lambda now: now.id not in (None, job.id) and now.state is Condition.HEALTHY)
        assert again.resubmissions == 1
        assert f"/{job.id}/chk-" in str(again.started_from)
        send(stack, "4")
        assert predicted(stack, 4) == 4

        assert main(["job", "stop", "classify", *arguments]) == 0
        assert the_job(stack).state is Condition.STOPPED
        assert main(["status", *arguments]) == 1
        savepoint = History(stack.folder.jobs).of("classify")[-1].savepoint
        assert savepoint is not None
        kept = local_path(savepoint).rename(tmp_path / "kept")
        assert main(["job", "submit", "classify", *arguments]) == 0
        older = wait_until(stack, lambda job: job.state is Condition.HEALTHY)
        assert older.started_from not in (None, savepoint)
        assert "cannot be read" in older.refused_states[0]
        assert predicted(stack, 4) == 4, "from an older state it writes nothing again"
        assert main(["job", "stop", "classify", *arguments]) == 0

        assert main(["job", "submit", "classify", "--from", str(tmp_path), *arguments]) == 2
        assert main(["job", "submit", "classify", "--from", str(kept), *arguments]) == 0
        wait_until(stack, lambda job: job.state is Condition.HEALTHY)
        send(stack, "5")
        assert predicted(stack, 5) == 5
        assert main(["job", "list", *arguments]) == 0
        assert str(kept) in capsys.readouterr().out

        stack.stop(savepoint=False)
        shutil.rmtree(stack.folder.checkpoints)
        shutil.rmtree(stack.folder.savepoints)
        shutil.rmtree(kept)
        stack.start()
        assert the_job(stack).state is Condition.REFUSED
        assert "predictions holds records" in str(the_job(stack).error)
        assert main(["status", *arguments]) == 1
        assert "--empty" in capsys.readouterr().out

        assert main(["job", "submit", "classify", "--empty", *arguments]) == 0
        wait_until(stack, lambda job: job.state is Condition.HEALTHY)
        send(stack, "6")
        assert predicted(stack, 6) == 6, "without a state it reads everything, and writes what is missing"
    finally:
        stack.stop(savepoint=False)
