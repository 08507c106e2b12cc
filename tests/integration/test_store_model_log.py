"""Reading the model log from a real broker: committed entries only, in order, and replicas equal to those that saw all."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from batch_model.data import Window
from batch_model.log_data import from_log, read_labels
from online_model.drift import DriftMonitor
from online_model.replica import Replica
from schemas.log import AnyLogEntry, LabelEntry, SnapshotEntry, VerdictEntry
from schemas.parsing import encode
from schemas.records import FeedbackRef, ModelVersion, Position, Served
from schemas.topics import MODEL_LOG_PARTITIONS, Topic
from store.artifacts import ArtifactFolder
from store.connect import KafkaUnavailable
from store.model_log import ModelLogReader, ModelUnavailable, load_replica, partition_of

pytestmark = pytest.mark.integration

TASK = "default"
NEIGHBOUR = next(
    name for n in range(1000) if partition_of(name := f"t{n}", MODEL_LOG_PARTITIONS) == partition_of(TASK, MODEL_LOG_PARTITIONS)
)
"""A task whose log lies in the same partition."""


def label(seq: int, task: str = TASK) -> LabelEntry:
    name = "ab"[seq % 2]
    return LabelEntry(
        seq=seq,
        task=task,
        time=1000 + seq,
        event_id=f"e{seq}",
        text=f"{name} text number {seq % 7}",
        meta={},
        label=name,
        weight=1.0,
        served=Served(label=None, proba={}, classes=0, model=ModelVersion(line="base", seq=0)),
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


def wrong(seq: int) -> VerdictEntry:
    served = Served(label="a", proba={"a": 0.75}, classes=2, model=ModelVersion(line="base", seq=1))
    ref = FeedbackRef(at=Position(partition=1, offset=seq), verdict="wrong")
    return VerdictEntry(seq=seq, task=TASK, time=1000 + seq, event_id=f"e{seq}", weight=1.0, served=served, feedback=ref)


def announced(seq: int, at_seq: int, address: str, sha256: str) -> SnapshotEntry:
    return SnapshotEntry(seq=seq, task=TASK, time=1000 + seq, at_seq=at_seq, line="base", address=address, sha256=sha256, size_bytes=1)


class Log:
    """Writes the log as the learner does: in transactions."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.topic = topic
        self.producer = KafkaProducer(bootstrap_servers=kafka, transactional_id=topic)
        self.producer.init_transactions()

    def append(self, entries: Iterable[AnyLogEntry], *, commit: bool = True) -> None:
        self.producer.begin_transaction()
        for entry in entries:
            self.producer.send(self.topic, encode(entry), key=entry.task.encode())
        self.producer.flush()
        if commit:
            self.producer.commit_transaction()
        else:
            self.producer.abort_transaction()


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Iterator[Log]:
    log = Log(kafka, topic_prefix + Topic.MODEL_LOG)
    yield log
    log.producer.close()


@pytest.fixture
def reader(kafka: str, log: Log) -> ModelLogReader:
    return ModelLogReader(kafka, log.topic)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts")


def replica_of(entries: Iterable[AnyLogEntry]) -> Replica:
    replica = Replica(TASK, memory_mib=1)
    for entry in entries:
        replica.apply(entry)
    return replica


def load(reader: ModelLogReader, artifacts: ArtifactFolder, up_to_seq: int | None = None) -> Replica:
    return load_replica(reader, artifacts, Replica(TASK, memory_mib=1), up_to_seq=up_to_seq)


def with_snapshots(log: Log, artifacts: ArtifactFolder, labels: int, every: int) -> list[AnyLogEntry]:
    """Write labels, and after each `every` of them the announcement of a snapshot; return all entries."""
    entries: list[AnyLogEntry] = []
    replica = Replica(TASK, memory_mib=1)
    for number in range(1, labels + 1):
        entries.append(label(len(entries) + 1))
        replica.apply(entries[-1])
        if number % every == 0:
            address = f"{TASK}/base-{replica.seq:012d}.safetensors"
            entries.append(announced(replica.seq + 1, replica.seq, address, artifacts.put(address, replica.snapshot())))
            replica.apply(entries[-1])
    for start in range(0, len(entries), 40):
        log.append(entries[start : start + 40])
    return entries


def test_committed_entries_of_one_task_in_order(log: Log, reader: ModelLogReader) -> None:
    assert list(reader.entries(TASK)) == []
    assert reader.newest_snapshot(TASK) is None
    log.append([label(1), label(1, NEIGHBOUR), label(2)])
    log.append([label(3), label(4)], commit=False)
    log.append([label(2, NEIGHBOUR), label(3)])
    log.append([label(4)], commit=False)
    assert [entry.seq for entry in reader.entries(TASK)] == [1, 2, 3]
    assert [entry.seq for entry in reader.entries(NEIGHBOUR)] == [1, 2]
    assert [entry.seq for entry in reader.entries(TASK, after_seq=2)] == [3]
    assert list(reader.entries(TASK, after_seq=3)) == []


def test_an_open_transaction_is_not_waited_for(log: Log, reader: ModelLogReader) -> None:
    log.append([label(1)])
    log.producer.begin_transaction()
    log.producer.send(log.topic, encode(label(2)), key=TASK.encode())
    log.producer.flush()
    assert [entry.seq for entry in reader.entries(TASK)] == [1]
    log.producer.commit_transaction()
    assert [entry.seq for entry in reader.entries(TASK)] == [1, 2]


def test_the_tail_of_a_long_log(log: Log, reader: ModelLogReader) -> None:
    for start in range(1, 6001, 1500):
        log.append([label(n) for n in range(start, start + 1500)])
    for after in (0, 1, 2999, 5400, 5998, 6000):
        assert [entry.seq for entry in reader.entries(TASK, after_seq=after)] == list(range(after + 1, 6001))


def test_snapshots_newest_first(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    entries = with_snapshots(log, artifacts, 100, 30)
    log.append([label(len(entries) + 1 + n) for n in range(2000)])
    snapshots = [entry for entry in entries if isinstance(entry, SnapshotEntry)]
    assert reader.newest_snapshot(TASK) == snapshots[-1]
    with closing(reader.snapshots(TASK)) as found:
        assert [entry for _, entry in found] == snapshots[::-1]
    assert reader.newest_snapshot(NEIGHBOUR) is None


def test_what_a_load_can_do_is_not_left_to_the_first_label(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector of drift is fed with thousands of outcomes: 40 ms of the thread that serves, if nothing came after the snapshot."""
    fed: list[DriftMonitor] = []
    feed = DriftMonitor._rebuilt

    def noted(monitor: DriftMonitor) -> object:
        fed.append(monitor)
        return feed(monitor)

    entries = with_snapshots(log, artifacts, labels=10, every=10)
    monkeypatch.setattr(DriftMonitor, "_rebuilt", noted)
    loaded = load(reader, artifacts)
    assert fed == [loaded.drift]
    loaded.apply(label(len(entries) + 1))
    assert len(fed) == 1


def test_a_loaded_replica_equals_one_that_saw_all(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    assert load(reader, artifacts).seq == 0
    entries = with_snapshots(log, artifacts, 100, 30)
    for up_to in (None, 103, 94, 93, 64, 31, 5):
        known = entries if up_to is None else entries[:up_to]
        loaded, expected = load(reader, artifacts, up_to), replica_of(known)
        assert (loaded.seq, loaded.fingerprint(), loaded.quality) == (expected.seq, expected.fingerprint(), expected.quality)
    assert load(reader, artifacts, 9999).seq == len(entries)


def test_a_bad_snapshot_is_passed_over_aloud(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder, caplog: pytest.LogCaptureFixture
) -> None:
    entries = with_snapshots(log, artifacts, 100, 30)
    expected = replica_of(entries).fingerprint()
    newest, second, first = reversed(artifacts.list())
    (artifacts.path / newest).write_bytes(b"rubbish")
    with caplog.at_level(logging.WARNING):
        assert load(reader, artifacts).fingerprint() == expected
    assert newest in caplog.text
    artifacts.delete(second)
    artifacts.delete(first)
    assert load(reader, artifacts).fingerprint() == expected


def test_a_snapshot_of_something_else_is_passed_over(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    other = Replica("other", memory_mib=1).snapshot()
    entries: list[AnyLogEntry] = [label(1), announced(2, 1, "x/other", artifacts.put("x/other", other))]
    entries.append(announced(3, 1, "x/foreign", artifacts.put("x/foreign", b"no snapshot")))
    log.append(entries)
    assert load(reader, artifacts).fingerprint() == replica_of(entries).fingerprint()


def test_a_cut_log_without_snapshot_is_no_empty_model(kafka: str, log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    entries = with_snapshots(log, artifacts, 100, 30)
    part = TopicPartition(log.topic, partition_of(TASK, MODEL_LOG_PARTITIONS))
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.delete_records({part: 50})
        assert load(reader, artifacts).fingerprint() == replica_of(entries).fingerprint()
        assert reader.starts_late(TASK)
        for address in artifacts.list():
            artifacts.delete(address)
        with pytest.raises(ModelUnavailable, match="no intact snapshot"):
            load(reader, artifacts)
        admin.delete_records({part: -1})
    finally:
        admin.close()
    with pytest.raises(ModelUnavailable, match="was deleted"):
        load(reader, artifacts)


def test_what_is_no_entry_is_an_error(kafka: str, log: Log, reader: ModelLogReader) -> None:
    log.append([label(1)])
    with closing(KafkaProducer(bootstrap_servers=kafka)) as stranger:
        stranger.send(log.topic, b"{}", key=TASK.encode()).get(10)
    with pytest.raises(ModelUnavailable, match="offset 2"):
        list(reader.entries(TASK))


def test_no_topic_and_no_broker_raise(kafka: str, artifacts: ArtifactFolder) -> None:
    with pytest.raises(KafkaUnavailable, match="has no topic"):
        load(ModelLogReader(kafka, "no-such-topic"), artifacts)
    with pytest.raises(KafkaUnavailable, match="MILLRACE_KAFKA"):
        load(ModelLogReader("127.0.0.1:1", "x"), artifacts)


def test_a_snapshot_of_another_model_than_the_configured_one_is_passed_over(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder
) -> None:
    entries = with_snapshots(log, artifacts, labels=20, every=10)
    other = Replica(TASK, model="softmax?learning_rate=0.7", memory_mib=1)
    loaded = load_replica(reader, artifacts, Replica(TASK, model=other.model.specification))
    for entry in entries:
        other.apply(entry)
    assert loaded.snapshot() == other.snapshot()
    assert loaded.fingerprint() != replica_of(entries).fingerprint()


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_model_of_river_comes_back_from_its_pickle_or_from_the_whole_log(
    log: Log, reader: ModelLogReader, artifacts: ArtifactFolder, *, allow_pickle: bool
) -> None:
    specification = "river:naive_bayes.MultinomialNB"
    entries: list[AnyLogEntry] = [label(seq) for seq in range(1, 11)]
    straight = Replica(TASK, model=specification)
    for entry in entries:
        straight.apply(entry)
    entries.append(announced(11, 10, "a", artifacts.put("a", straight.snapshot())))
    entries += [label(seq) for seq in range(12, 20)]
    for entry in entries:
        straight.apply(entry)
    log.append(entries)
    new = Replica(TASK, model=specification)
    loaded = load_replica(reader, artifacts, new, allow_pickle=allow_pickle)
    assert (loaded.seq, loaded.fingerprint(), loaded.quality) == (19, straight.fingerprint(), straight.quality)
    assert (loaded is new) is not allow_pickle


def test_verdicts_score_in_every_replica_and_are_no_training_data(log: Log, reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
    entries: list[AnyLogEntry] = [wrong(seq) if seq % 4 == 3 else label(seq) for seq in range(1, 21)]
    straight = replica_of(entries[:12])
    address = f"{TASK}/base-{12:012d}.safetensors"
    entries.insert(12, announced(13, 12, address, artifacts.put(address, straight.snapshot())))
    entries[13:] = [msgspec.structs.replace(entry, seq=entry.seq + 1) for entry in entries[13:]]
    log.append(entries)
    loaded = load(reader, artifacts)
    assert loaded.snapshot() == replica_of(entries).snapshot()
    assert loaded.quality.labels == 20
    read = read_labels(reader, TASK)
    assert (read.last_seq, [one.seq for one in read.taught]) == (21, [e.seq for e in entries if isinstance(e, LabelEntry)])
    assert loaded.fingerprint() == replica_of(number(e for e in entries if isinstance(e, LabelEntry))).fingerprint()
    assert from_log(read, 21, Window()).spec.classes == 2


def number(entries: Iterable[LabelEntry]) -> list[AnyLogEntry]:
    """The same labels as a log that holds nothing else."""
    return [msgspec.structs.replace(entry, seq=seq) for seq, entry in enumerate(entries, 1)]
