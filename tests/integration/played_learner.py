"""Plays the learner for the tests of what people ask of models: the real rules on a real log, without Flink.

Commands are judged by `online_model.changes`, as in the job; a line that comes in gets a blank model, since no text is classified here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
from kafka import KafkaProducer
from kafka.consumer.fetcher import ConsumerRecord

from online_model.changes import entry_for, needs_model, objection
from online_model.models import build
from online_model.replica import Replica
from schemas.log import AnyLogEntry, LabelEntry, Origin, ReleaseEntry, SnapshotEntry
from schemas.manifest import DataSpec, Gate, Manifest
from schemas.parsing import encode, parse_command
from schemas.records import FeedbackRef, Position, Scores
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.follow import Follower
from store.releases import ReleaseFolder

MEMORY_MIB = 1
SCORES = Scores(labels=100, accuracy=0.9, macro_f1=0.9, log_loss=0.3, per_class={})
DATA = DataSpec(source="log", rows=10, classes=2, fingerprint="f00d")


def label(seq: int, *, task: str = "default", time_ms: int | None = None) -> LabelEntry:
    at = FeedbackRef(at=Position(partition=0, offset=seq))
    return LabelEntry(
        seq=seq, task=task, time=now_ms() if time_ms is None else time_ms, event_id=f"e{seq}", text="hi", meta={}, label="ab"[seq % 2],
        weight=1.0, feedback=at,
    )  # fmt: skip


def snapshot(seq: int, *, task: str = "default") -> SnapshotEntry:
    return SnapshotEntry(seq=seq, task=task, time=now_ms(), at_seq=seq - 1, line="base", address="a", sha256="0", size_bytes=1)


def release(seq: int, line: str, *, time_ms: int, mode: str = "serve", share: float | None = None, task: str = "default") -> ReleaseEntry:
    return ReleaseEntry(
        seq=seq, task=task, time=time_ms, line=line, by="ann", why="better", origin=Origin(cut_seq=0), mode=mode, share=share,  # type: ignore[arg-type]  # the tests name modes
        metrics={"gain": 0.01}, data="f00d",
    )  # fmt: skip


def manifest(line: str, *, task: str = "default", passed: bool = True) -> Manifest:
    gate = Gate(
        passed=passed, reasons=["better"], champion_line="base", labels=100, champion=SCORES, challenger=SCORES, only_champion=1,
        only_challenger=9, p_value=0.01,
    )  # fmt: skip
    return Manifest(
        task=task, line=line, created_at=5000, by="ann", why="schedule", origin=Origin(cut_seq=1), specification="softmax", parent="base",
        candidate="lift", parameters={}, metrics={"gain": 0.02}, data=DATA, gate=gate,
    )  # fmt: skip


def store(settings: Settings, made: Manifest) -> Manifest:
    return ReleaseFolder(ArtifactFolder(settings.artifacts)).put(made, b"weights")


def when_read(api: httpx.Client, path: str, **query: str | int) -> dict[str, object]:
    """The answer as soon as the log has been read: until then it is a 503 that says so."""
    deadline = time.monotonic() + 30
    while (response := api.get(path, params=query)).status_code == 503 and time.monotonic() < deadline:
        assert response.headers["retry-after"]
        time.sleep(0.05)
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


def now_ms() -> int:
    return int(time.time() * 1000)


class PlayedLearner:
    """Writes entries to the log of one task, and answers its commands in a thread."""

    def __init__(self, settings: Settings, task: str = "default") -> None:
        self.settings, self.task = settings, task
        self.replica = Replica(task, memory_mib=MEMORY_MIB)
        self.producer = KafkaProducer(bootstrap_servers=settings.kafka, linger_ms=0, reconnect_backoff_max_ms=1000)
        self.lock = threading.Lock()

    def write(self, *entries: AnyLogEntry) -> None:
        """Write entries and apply them, those with labels as well."""
        with self.lock:
            for entry in entries:
                self.replica.apply(entry, brought=build(f"softmax?memory_mib={MEMORY_MIB}") if isinstance(entry, ReleaseEntry) else None)
                self.producer.send(self.settings.topic_prefix + Topic.MODEL_LOG, encode(entry), key=entry.task.encode())
            self.producer.flush()

    def answer(self, _: str, records: list[ConsumerRecord]) -> None:
        for record in records:
            command = parse_command(record.value, tasks=self.settings.tasks)
            if command.task == self.task:
                brings = objection(self.replica, command) is None and needs_model(self.replica, command)
                entry = entry_for(self.replica, command, now_ms())
                assert isinstance(entry, ReleaseEntry) or not brings or command.do == "rollback"
                self.write(entry)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer commands until the block ends."""
        stop = threading.Event()
        follower = Follower(self.settings.kafka, [self.settings.topic_prefix + Topic.MODEL_COMMANDS], self.answer)

        def run() -> None:
            while not stop.is_set():
                follower.poll(100)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            with closing(self.producer):
                follower.close()
