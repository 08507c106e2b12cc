"""`millrace import-labels` against a real broker; where label states are needed, the test writes them as learn would."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import encode, parse_feedback
from schemas.records import FeedbackRef, LabelState, Position, State
from schemas.settings import Settings, as_environment
from schemas.topics import Topic
from stack import imported
from stack.cli import main
from store.committed import read_committed
from store.import_ids import import_id

pytestmark = pytest.mark.integration

ROWS = [
    {"text": "one", "label": "a", "id": "e1"},
    {"text": "two"},
    {"text": "two", "label": "b", "ts": 5, "weight": 2},
    {"text": "three", "label": "c", "weight": 0},
]


@pytest.fixture
def settings(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The settings, also in the environment; no stack runs on the default data folder."""
    settings = Settings(kafka=kafka, topic_prefix=topic_prefix)
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path / "nothing-runs-here"))
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join([*(json.dumps(row) for row in ROWS), "no json"]))
    return path


def answer(settings: Settings, stop: threading.Event, *, but: int = 0) -> Callable[[], None]:
    """Return what gives every label a final state as soon as it is there, `but` the last ones."""

    def run() -> None:
        feedback, states = (settings.topic_prefix + topic for topic in (Topic.FEEDBACK, Topic.LABEL_STATES))
        records: list[ConsumerRecord] = []
        while len(records) < 2 and not stop.is_set():
            records = [r for batch in read_committed(settings.kafka, feedback) for r in batch]
        with closing(KafkaProducer(bootstrap_servers=settings.kafka)) as producer:
            for seq, record in enumerate(records[: len(records) - but], 1):
                ref = FeedbackRef(at=Position(partition=record.partition, offset=record.offset))
                state = LabelState(event_id=record.key.decode(), task="default", state=State.TRAINED, feedback=ref, seq=seq, time=1)
                producer.send(states, encode(state), key=record.key)

    return run


def test_labels_are_sent_with_their_texts(settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-labels", str(file), "--no-wait", "--source", "crm"]) == 0
    records = [r for batch in read_committed(settings.kafka, settings.topic_prefix + Topic.FEEDBACK) for r in batch]
    labels = [parse_feedback(r.value, tasks=settings.tasks, max_text_bytes=1000) for r in records]
    assert [(f.event_id, f.label, f.text, f.ts, f.weight, f.source) for f in labels] == [
        ("e1", "a", "one", None, 1.0, "crm"),
        (import_id("default", "two"), "b", "two", 5, 2.0, "crm"),
    ]
    assert [r.key.decode() for r in records] == [f.event_id for f in labels]
    said = capsys.readouterr()
    assert "sent 2 labels" in said.out
    assert "left out: 1 rows without a label, 2 unusable lines" in said.out
    assert "skipped row 4: invalid_field" in said.err
    assert "`$.weight`" in said.err
    assert "skipped line 5: not JSON" in said.err


@pytest.mark.parametrize(("but", "code"), [(0, 0), (1, 1)])
def test_the_command_waits_for_final_states_and_says_what_is_missing(
    settings: Settings, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, but: int, code: int
) -> None:
    monkeypatch.setattr(imported, "PATIENCE_S", 3.0)
    stop = threading.Event()
    learn = threading.Thread(target=answer(settings, stop, but=but))
    learn.start()
    try:
        assert main(["import-labels", str(file)]) == code
    finally:
        stop.set()
        learn.join()
    said = capsys.readouterr()
    assert f"sent 2 labels | {2 - but} trained" in said.out
    assert f"model at seq {2 - but}" in said.out
    assert ("not finished: 1 labels have no final state" in said.err) == (but == 1)


def test_limit_counts_labels(settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-labels", str(file), "--no-wait", "--limit", "1"]) == 0
    assert "sent 1 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "flags", "message"),
    [
        ("a.jsonl", "", [], "the file is empty"),
        ("a.jsonl", '{"text": "no label"}', [], "no label in it can be imported: 1 rows without a label"),
        ("a.parquet", "x", [], "unknown kind of file"),
        ("a.jsonl", '{"text": "a", "label": "b"}', ["--task", "unheard"], "task 'unheard' is not configured; there are default"),
        ("a.jsonl", '{"text": "a", "label": "b"}', ["--kafka", "127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_said_and_exits_with_2(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, flags: list[str], message: str
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["import-labels", str(tmp_path / name), *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(read_committed(settings.kafka, settings.topic_prefix + Topic.FEEDBACK)) == []
