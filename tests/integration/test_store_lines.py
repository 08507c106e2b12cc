"""Lines against a real broker: built from artifact and log, brought in when a replica is loaded, told by history, asked for by command."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from online_model import changes
from online_model.models import build
from online_model.replica import Replica
from schemas.log import (
    AnyLogEntry,
    Artifact,
    Command,
    LabelEntry,
    Origin,
    PromoteEntry,
    RefusalEntry,
    ReleaseEntry,
    RollbackEntry,
    SnapshotEntry,
)
from schemas.manifest import DataSpec, Manifest
from schemas.parsing import encode, parse_command
from schemas.records import Position, Prediction, Served
from schemas.settings import Settings
from schemas.topics import Topic
from stack.audit import audit
from store.artifacts import ArtifactFolder
from store.commands import NoAnswer, await_answer, send
from store.committed import read_committed
from store.lines import ReleaseUnusable, build_line
from store.log_reader import ModelLogReader, ModelUnavailable
from store.model_history import ModelHistory
from store.model_log import catch_up, load_replica
from store.releases import ReleaseFolder, ReleaseUnknown
from tests.integration.test_store_model_log import TASK, Log, label

pytestmark = pytest.mark.integration

LINE = "r10-0badcafe"


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path / "artifacts"), model_memory_mib=1)


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    log = Log(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    yield log
    log.producer.close()


@pytest.fixture
def reader(settings: Settings) -> ModelLogReader:
    return ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)


@pytest.fixture
def artifacts(settings: Settings) -> ArtifactFolder:
    return ArtifactFolder(settings.artifacts)


def new() -> Replica:
    return Replica(TASK, memory_mib=1)


def trained(labels: int, *, task: str = TASK, line: str = LINE, model: str = "softmax?memory_mib=1") -> bytes:
    """Return a release's model, which has learned something else than the log."""
    replica = Replica(task, model=model)
    replica.line, replica.seq = line, labels
    for number in range(20):
        replica.model.learn_one(f"what it was trained with {number}", "ab"[number % 2])
    return replica.snapshot()


def put(artifacts: ArtifactFolder, data: bytes, cut_seq: int = 10) -> Origin:
    address = f"{TASK}.releases/{LINE}.safetensors"
    return Origin(artifact=Artifact(address=address, sha256=artifacts.put(address, data), size_bytes=len(data)), cut_seq=cut_seq)


def change(kind: type[Any], seq: int, line: str = LINE, **fields: Any) -> Any:
    return kind(seq=seq, task=TASK, time=1000 + seq, line=line, by="me", why="", **fields)


def straight(log: list[AnyLogEntry], *, trained_line: bytes) -> Replica:
    """Return the replica that held every line from its entry on."""
    replica, line = new(), Replica.from_snapshot(trained_line).model
    for entry in log:
        if isinstance(entry, LabelEntry) and entry.seq > 10 and not replica.holds(LINE):
            line.learn_one(entry.text, entry.label, entry.weight)
        replica.apply(entry, brought=line if isinstance(entry, ReleaseEntry) else None)
    return replica


def released(origin: Origin, **fields: Any) -> list[AnyLogEntry]:
    """A log of 45 entries in which a line comes in at the 31st."""
    log: list[AnyLogEntry] = [label(seq) for seq in range(1, 31)]
    return [*log, change(ReleaseEntry, 31, origin=origin, **fields), *(label(seq) for seq in range(32, 46))]


def test_a_loaded_replica_holds_the_lines_that_came_in(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    data = trained(10)
    entries = released(put(artifacts, data), mode="split", share=0.2)
    log.append(entries)
    log.append([label(46)], commit=False)
    loaded, expected = load_replica(reader, artifacts, new()), straight(entries, trained_line=data)
    assert loaded.snapshot() == expected.snapshot()
    assert loaded.trials()[0].labels == 14
    entries.append(change(PromoteEntry, 46, replaces="base"))
    entries.append(label(47))
    log.append(entries[-2:])
    assert catch_up(loaded, reader, artifacts).line == LINE
    assert loaded.snapshot() == straight(entries, trained_line=data).snapshot()
    # From a snapshot on, the artifact is needed no more.
    address = f"{TASK}/x"
    sha256 = artifacts.put(address, loaded.snapshot())
    log.append([SnapshotEntry(seq=48, task=TASK, time=1, at_seq=47, line=LINE, address=address, sha256=sha256, size_bytes=1), label(49)])
    artifacts.delete(f"{TASK}.releases/{LINE}.safetensors")
    again = load_replica(reader, artifacts, new())
    assert (again.seq, again.line, again.missing) == (49, LINE, frozenset())
    base = build_line(reader, artifacts, "base", Origin(), new=new(), up_to_seq=49)
    assert again.fingerprint("base") == base.fingerprint()


def test_a_release_whose_artifact_is_gone_leaves_the_line_that_served(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder, caplog: pytest.LogCaptureFixture
) -> None:
    origin = put(artifacts, trained(10))
    entries = released(origin)
    log.append(entries)
    assert origin.artifact is not None
    artifacts.put(origin.artifact.address, b"rubbish")
    with caplog.at_level(logging.ERROR):
        loaded = load_replica(reader, artifacts, new())
    assert "cannot be had" in caplog.text
    assert (loaded.seq, loaded.line, loaded.champion, loaded.missing) == (45, "base", LINE, frozenset({LINE}))
    base = build_line(reader, artifacts, "base", Origin(), new=new(), up_to_seq=45)
    assert loaded.fingerprint() == base.fingerprint()
    entry = changes.repair(loaded, 5)
    assert isinstance(entry, RollbackEntry)
    log.append([entry, label(47)])
    whole = load_replica(reader, artifacts, new())
    assert (whole.line, whole.missing, whole.roles) == ("base", frozenset(), {})


def test_a_rollback_to_a_line_that_is_not_held_builds_it(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    entries = released(put(artifacts, trained(10)))
    log.append([*entries, change(RollbackEntry, 46, "base", origin=Origin(), replaces=LINE), label(47)])
    resumed = load_replica(reader, artifacts, new(), up_to_seq=45)
    dropped = change(RollbackEntry, 46, "base", origin=Origin(), replaces=LINE)
    assert resumed.apply(dropped)
    assert resumed.line == "base"
    loaded = load_replica(reader, artifacts, new())
    assert loaded.fingerprint() == build_line(reader, artifacts, "base", Origin(), new=new(), up_to_seq=47).fingerprint()


@pytest.mark.parametrize(
    ("origin", "data", "reason"),
    [
        (None, b"rubbish", "no safetensors file"),
        (None, trained(9), "at seq 9, not default at 10"),
        (None, trained(10, task="other"), "holds task other"),
        (None, trained(10, line="r9-other"), f"holds line r9-other, not {LINE}"),
        (Origin(), b"", "base alone began without an artifact"),
        (None, trained(10, model="softmax?memory_mib=2"), "its model is softmax.*memory_mib=2"),
        (Origin(artifact=Artifact(address="gone", sha256="00", size_bytes=1), cut_seq=10), b"", "not in"),
        (Origin(artifact=Artifact(address="../etc/passwd", sha256="00", size_bytes=1), cut_seq=10), b"", "relative path"),
        (Origin(cut_seq=3), b"", "without an artifact"),
        (Origin(cut_seq=99), b"", "began after entry 99"),
    ],
)
def test_what_is_no_line_is_refused_with_the_reason(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder, origin: Origin | None, data: bytes, reason: str
) -> None:
    log.append([label(seq) for seq in range(1, 21)])
    stored = put(artifacts, data)
    with pytest.raises(ReleaseUnusable, match=reason):
        build_line(reader, artifacts, LINE, origin or stored, new=new(), up_to_seq=20)


def test_storage_that_does_not_answer_says_nothing_about_the_line(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    log.append([label(seq) for seq in range(1, 21)])
    origin = put(artifacts, trained(10))
    assert origin.artifact is not None
    file = artifacts.path / origin.artifact.address
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(OSError, match="symbolic links"):
        build_line(reader, artifacts, LINE, origin, new=new(), up_to_seq=20)


def test_a_line_is_not_built_beyond_the_log(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    log.append([label(seq) for seq in range(1, 21)])
    with pytest.raises(ModelUnavailable, match="ends at entry 20"):
        build_line(reader, artifacts, "base", Origin(), new=new(), up_to_seq=21)
    expected = build("softmax?memory_mib=1")
    for seq in range(1, 16):
        expected.learn_one(label(seq).text, label(seq).label)
    assert build_line(reader, artifacts, "base", Origin(), new=new(), up_to_seq=15).fingerprint() == expected.fingerprint()


def test_history_says_who_served_when(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    origin = put(artifacts, trained(10))
    log.append([label(1), label(2), change(ReleaseEntry, 3, origin=origin, mode="shadow"), label(4)])
    history = ModelHistory.read(reader, TASK)
    assert (history.champion, [known.state for known in history.lines()]) == ("base", ["serves", "shadow"])
    log.append([change(PromoteEntry, 5, replaces="base"), label(6), change(RefusalEntry, 7, do="drop"), label(8)])
    log.append([change(RollbackEntry, 9, "base", origin=Origin(), replaces=LINE)])
    assert [entry.seq for entry in history.update(reader)] == [5, 7, 9]
    assert history.update(reader) == []
    assert [history.champion_at(seq) for seq in (0, 4, 5, 8, 9, 99)] == ["base", "base", LINE, LINE, "base", "base"]
    assert [history.champion_at_time(time) for time in (0, 1004, 1005, 1008, 1009)] == ["base", "base", LINE, LINE, "base"]
    known = history.line(LINE)
    assert known is not None
    assert (known.origin, known.state, known.first_seq, known.since_seq, known.since) == (origin, "gone", 3, 9, 1009)
    assert msgspec.structs.asdict(ModelHistory.read(reader, TASK).lines()[0]) == msgspec.structs.asdict(history.lines()[0])
    assert ModelHistory.read(reader, "nobody").champion == "base"


def test_a_command_is_sent_and_its_answer_awaited(settings: Settings, log: Log) -> None:
    command = Command(command_id="c1", task=TASK, do="rollback", by="me")
    with pytest.raises(NoAnswer, match="c1"):
        await_answer(settings, command, 0.1)
    send(settings, command)
    batches = read_committed(settings.kafka, settings.topic_prefix + Topic.MODEL_COMMANDS)
    assert [parse_command(record.value, tasks={TASK}) for batch in batches for record in batch] == [command]
    answer = changes.entry_for(new(), command, now=5)
    timer = threading.Timer(0.5, lambda: log.append([answer]))
    timer.start()
    try:
        assert await_answer(settings, command, 20) == answer
    finally:
        timer.join()


def test_an_audit_repeats_what_every_line_has_predicted(settings: Settings, log: Log, artifacts: ArtifactFolder) -> None:
    """Also what a predictor said by a line after the entry at which that is held no more: it had not caught up yet."""
    data = trained(10)
    entries = released(put(artifacts, data))
    entries.append(change(RollbackEntry, 46, "base", origin=Origin(), replaces=LINE))
    entries += [label(seq) for seq in range(47, 51)]
    log.append(entries)
    line, replica = Replica.from_snapshot(data), new()
    line.line = LINE
    for entry in entries[:10]:
        replica.apply(entry)
    said: list[Served] = []
    for entry in entries[10:]:
        replica.apply(entry)
        line.apply(
            entry
            if isinstance(entry, LabelEntry)
            else SnapshotEntry(seq=entry.seq, task=TASK, time=1, at_seq=1, line="", address="", sha256="", size_bytes=0)
        )
        said.append(line.predict("b text number 3", top=10))
        said.append(replica.predict_as("base", "b text number 3", 10))
    asked = [served for served in said if served.model.line == "base" or 31 <= served.model.seq <= 49]

    def tell(predictions: list[Served]) -> None:
        with closing(KafkaProducer(bootstrap_servers=settings.kafka)) as producer:
            for number, served in enumerate(predictions):
                event = {"event_id": f"e{number}", "task": TASK, "text": "b text number 3", "meta": {}, "event_ts": 1, "predicted_at": 1}
                record = Prediction(**msgspec.structs.asdict(served), **event, source=Position(partition=0, offset=number))  # type: ignore[arg-type]  # as named
                producer.send(settings.topic_prefix + Topic.PREDICTIONS, encode(record))
            producer.flush()

    tell(asked)
    result = audit(settings, TASK)
    assert (result.differences, result.entries, result.line, result.predictions) == ([], 50, "base", len(asked))
    tell([said[0], msgspec.structs.replace(asked[-1], classes=9)])  # a line that had not come in, and a lie
    result = audit(settings, TASK)
    assert result.differing == 2
    assert f"there was no line {LINE}" in result.differences[0]


def test_releases_are_kept_with_their_manifests(artifacts: ArtifactFolder, caplog: pytest.LogCaptureFixture) -> None:
    releases = ReleaseFolder(artifacts)
    assert releases.list(TASK) == []
    data = DataSpec(source="log", cut_seq=10, rows=9, classes=2, fingerprint="00")
    manifests = [
        Manifest(
            task=TASK,
            line=line,
            created_at=created,
            by="me",
            why="",
            origin=Origin(cut_seq=10),
            specification="softmax",
            parent=None,
            candidate="fresh",
            parameters={"rate": 0.1},
            metrics={},
            data=data,
            gate=None,
        )
        for line, created in ((LINE, 5), ("r20-00000000", 9))
    ]
    stored = [releases.put(manifest, trained(10)) for manifest in manifests]
    assert [manifest.line for manifest in releases.list(TASK)] == ["r20-00000000", LINE]
    assert releases.get(TASK, LINE) == stored[0]
    held = stored[0].origin
    assert held.artifact is not None
    assert (held.cut_seq, artifacts.get(held.artifact.address, held.artifact.sha256)) == (10, trained(10))
    artifacts.put(f"{TASK}.releases/r30-1.json", b"{}")
    artifacts.put(f"{TASK}.releases/r31-1.json", encode(stored[0]))
    with caplog.at_level(logging.WARNING):
        assert len(releases.list(TASK)) == 2
    assert "r30-1" in caplog.text
    assert "r31-1" in caplog.text
    for line in ("r30-1", "r31-1", "nothing", "../x"):
        with pytest.raises(ReleaseUnknown):
            releases.get(TASK, line)
