"""The whole embedded stack: a stream with crashes in its middle, then down, up, and on. The state is one, so the order counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import httpx
import msgspec
import pytest
from kafka import KafkaProducer

from online_model.replica import Replica
from schemas.log import LabelEntry
from schemas.parsing import record_parser
from schemas.records import Alarm
from schemas.topics import Topic
from stack.audit import audit
from stack.embedded import Stack
from stack.generator import generate
from store.committed import end_offsets, read_committed
from store.import_ids import import_id
from store.labelled_files import Row, read_rows
from store.model_log import ModelLogReader

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EVENTS = 12_000
SNIPS = Path(__file__).parents[3] / "shared" / "data" / "snips7.jsonl.gz"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    overrides = {"drill_folder": str(folder / "drill"), "snapshot_interval_s": 3}
    (folder / "drill").mkdir()
    stack = Stack(folder / "data", overrides, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
    stack.start(print)
    yield stack
    stack.stop(savepoint=False)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real texts where there are some, else generated ones; after two thirds the labels change their meaning."""
    if not SNIPS.exists():
        sys.stderr.write(f"{SNIPS} is not there: the generated stream stands in\n")
    source = read_rows(SNIPS) if SNIPS.exists() else generate(EVENTS, seed=1)
    rows = [row for row in islice(source, EVENTS) if isinstance(row, Row) and row.label is not None]
    names = sorted({str(row.label) for row in rows})
    later = dict(zip(names, names[1:] + names[:1], strict=True))
    drift = EVENTS * 2 // 3
    lines = [{"text": row.text, "label": row.label if n < drift else later[str(row.label)]} for n, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("stream") / "drifting.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def replay(stack: Stack, stream: Path, report: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "stack", "replay", str(stream), "--data-dir", str(stack.folder.root), "--report", str(report)]
    return subprocess.Popen([*command, "--limit", str(EVENTS), "--label-delay-s", "1", *flags])


def committed(stack: Stack, topic: Topic) -> int:
    settings = stack.settings
    return sum(end_offsets(settings.kafka, [settings.topic_prefix + topic])[settings.topic_prefix + topic].values())


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s until {what}"
        time.sleep(0.1)


def check_exact(report_file: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads(report_file.read_text())
    labels = report["labels"]
    assert isinstance(labels, dict)
    assert (report["predictions"], report["duplicate_predictions"], report["missing_predictions"]) == (report["events_sent"], 0, 0)
    assert sum(labels.values()) == report["labels_sent"] == labels["trained"]
    assert report["redis_matches_kafka"], report["redis_differences"]
    assert report["model_log_gaps"] == []
    return report


def test_crashes_lose_nothing_and_repeat_nothing(stack: Stack, stream: Path, tmp_path: Path) -> None:
    with replay(stack, stream, tmp_path / "r.json", "--rate", "300") as process:
        wait_until(lambda: committed(stack, Topic.MODEL_LOG) > EVENTS // 10, "labels are learned")
        os.kill(stack.pids()["taskmanager"], signal.SIGKILL)
        before = committed(stack, Topic.PREDICTIONS)
        wait_until(lambda: committed(stack, Topic.PREDICTIONS) > before + 500, "predictions go on after the TaskManager was killed")
        for job in ("classify", "learn", "publish"):
            drill = Path(stack.settings.drill_folder) / job
            drill.touch()
            wait_until(lambda drill=drill: not drill.exists(), f"an operator of {job} has failed")  # type: ignore[misc]  # a lambda's default is untyped
        wait_until(lambda: committed(stack, Topic.ALARMS) > 0, "the drift has raised an alarm")
        os.kill(stack.pids()["taskmanager"], signal.SIGKILL)
        assert process.wait(timeout=240) == 0
    report = check_exact(tmp_path / "r.json")
    assert report["events_sent"] == EVENTS
    assert isinstance(report["restarts"], int)
    assert report["restarts"] >= 5, "one process was killed twice, one operator of each job failed"


def test_each_drift_alarm_is_there_once(stack: Stack) -> None:
    settings, parse = stack.settings, record_parser(Alarm)
    batches = read_committed(settings.kafka, settings.topic_prefix + Topic.ALARMS)
    alarms = [parse(record.value) for batch in batches for record in batch if record.value]
    replica, expected = Replica.configured(settings, "default"), []
    for entry in ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG).entries("default"):
        replica.apply(entry)
        if (drift := replica.drift.raised_at(entry.seq)) is not None:
            expected.append((entry.seq, entry.time, drift))
    assert [(alarm.model.seq, alarm.time, alarm.drift) for alarm in alarms] == expected
    assert len(alarms) >= 1
    quality = httpx.get(f"{stack.addresses['api']}/v1/quality").json()
    assert (quality["alarms"], quality["last_alarm"]["seq"]) == (len(alarms), alarms[-1].model.seq)


def test_models_equal_a_replay_of_the_log(stack: Stack) -> None:
    result = audit(stack.settings, "default")
    assert result.differences == []
    assert result.entries > EVENTS
    assert result.snapshots >= 1
    assert result.predictions == EVENTS


def test_malformed_records_become_dead_letters_and_disturb_nothing(stack: Stack) -> None:
    settings, api = stack.settings, stack.addresses["api"]
    before = committed(stack, Topic.DEAD_LETTERS)
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    producer.send(settings.topic_prefix + Topic.EVENTS, b'{"event_id": "bad", "text": 5}', key=b"bad")
    producer.send(settings.topic_prefix + Topic.FEEDBACK, b'{"event_id": "bad", "label": null}', key=b"bad")
    producer.send(settings.topic_prefix + Topic.EVENTS, b'{"event_id": "good", "text": "play a song"}', key=b"good")
    producer.close()
    wait_until(lambda: httpx.get(f"{api}/v1/predictions/good").status_code == 200, "the event after the bad ones is answered")
    wait_until(lambda: committed(stack, Topic.DEAD_LETTERS) >= before + 2, "both bad records are dead letters")
    wait_until(lambda: httpx.get(f"{api}/v1/labels/bad").status_code == 200, "the rejected label has a receipt")
    assert httpx.get(f"{api}/v1/labels/bad").json()["state"] == "rejected"


def test_down_and_up_go_on_where_they_stopped(stack: Stack, stream: Path, tmp_path: Path) -> None:
    before = audit(stack.settings, "default")
    stack.stop()
    stack.start(print)
    resumed = audit(stack.settings, "default")
    assert (resumed.entries, resumed.fingerprint, resumed.differences) == (before.entries, before.fingerprint, [])
    assert replay(stack, stream, tmp_path / "r.json", "--rate", "0").wait(timeout=240) == 0
    check_exact(tmp_path / "r.json")
    after = audit(stack.settings, "default")
    assert after.differences == []
    assert after.entries >= before.entries + EVENTS


def import_labels(stack: Stack, file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stack", "import-labels", str(file), "--data-dir", str(stack.folder.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_history_is_learned_once_and_without_events_in_spite_of_a_crash(stack: Stack, stream: Path, tmp_path: Path) -> None:
    rows = [row for row in islice(read_rows(stream), 3000) if isinstance(row, Row) and row.label is not None]
    # One text with two labels: the second corrects the first, once.
    labels = [(row.text, str(row.label)) for row in rows] + [(rows[0].text, "another")]
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode({"text": text, "label": label}) + b"\n" for text, label in labels))
    before, predictions, sent = audit(stack.settings, "default"), committed(stack, Topic.PREDICTIONS), committed(stack, Topic.FEEDBACK)
    drill = Path(stack.settings.drill_folder) / "learn"
    with import_labels(stack, file) as process:
        wait_until(lambda: committed(stack, Topic.FEEDBACK) > sent + 500, "some labels are sent")
        drill.touch()
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said
    texts = {text for text, _ in labels}
    states = {"corrected": 1, "duplicate": len(labels) - 1 - len(texts), "trained": len(texts)}
    assert f"sent {len(labels)} labels | " + ", ".join(f"{count} {state}" for state, count in states.items() if count) in said
    with import_labels(stack, file) as process:
        assert f"sent {len(labels)} labels | {len(labels)} duplicate" in process.communicate(timeout=120)[0]
    assert not drill.exists(), "an operator of learn has failed among these labels"
    log = ModelLogReader(stack.settings.kafka, stack.settings.topic_prefix + Topic.MODEL_LOG)
    entries = [e for e in log.entries("default") if isinstance(e, LabelEntry) and e.event_id.startswith("import-")]
    assert Counter(e.text for e in entries) == Counter([*texts, rows[0].text]), "each text is taught once, the one with two labels twice"
    assert all(e.served is None for e in entries)
    (correction,) = [e for e in entries if e.corrects is not None]
    receipt = httpx.get(f"{stack.addresses['api']}/v1/labels/{import_id('default', rows[0].text)}").json()
    assert (receipt["state"], receipt["label"], receipt["seq"], receipt["score"]) == ("corrected", "another", correction.seq, None)
    after = audit(stack.settings, "default")
    assert (after.differences, committed(stack, Topic.PREDICTIONS)) == ([], predictions)
    assert after.entries >= before.entries + len(entries)
