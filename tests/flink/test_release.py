"""Both jobs on a real broker, while the model that serves is changed: one story, since starting all that takes long."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Self

import msgspec
import pytest
from kafka import KafkaProducer

from online_model.replica import Replica
from schemas.log import (
    AnyChange,
    AnyLogEntry,
    Artifact,
    Command,
    LabelEntry,
    Origin,
    PromoteEntry,
    RefusalEntry,
    ReleaseEntry,
    RollbackEntry,
    VerdictEntry,
)
from schemas.parsing import encode, record_parser
from schemas.records import DeadLetter, Event, Feedback, Prediction, Quality
from schemas.settings import Settings
from schemas.topics import Topic
from stack.audit import audit
from stack.kafka import start_broker
from stack.topics import create_topics
from store.artifacts import ArtifactFolder
from store.commands import await_answer, send
from store.committed import read_committed
from store.model_log import ModelLogReader
from store.rewind import Rewind
from stream.clock import now_ms
from stream.environment import Job, Placement
from stream.jobs import build

pytestmark = [pytest.mark.flink, pytest.mark.timeout(400)]

TASK = "default"
PARTITIONS = 4
RATE = 150
WRONG_EVERY = 10
"""Of so many events one is said to be wrong before its label comes."""
OLD, NEW = range(3), range(30)
"""Classes at first, and later."""


def text_of(random: Random, number: int) -> str:
    return (
        f"{random.choice(('we', 'they', 'you'))} want subject{number} {random.choice(('now', 'soon', 'today'))} thing{random.randrange(50)}"
    )


class Traffic:
    """Events with their labels, in a thread of its own; what is sent is known."""

    def __init__(self, settings: Settings) -> None:
        self.classes = OLD
        self.sent = 0
        self._settings = settings
        self._random = Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._settings.kafka)
        while not self._stop.wait(1 / RATE):
            number = self._random.choice(self.classes)
            event = Event(event_id=f"e{self.sent}", text=text_of(self._random, number))
            label = Feedback(event_id=event.event_id, label=f"class {number}")
            key = event.event_id.encode()
            producer.send(Topic.EVENTS, encode(event), key=key, partition=self.sent % PARTITIONS)
            if self.sent % WRONG_EVERY == 0:
                producer.send(Topic.FEEDBACK, encode(Feedback(event_id=event.event_id, verdict="wrong")), key=key)
            producer.send(Topic.FEEDBACK, encode(label), key=key)
            self.sent += 1
        producer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("release")
    (folder / "drill").mkdir()
    broker = start_broker(folder / "kafka")
    settings = Settings(
        kafka=broker.address,
        artifacts=str(folder / "artifacts"),
        model_memory_mib=1,
        topic_partitions=PARTITIONS,
        classify_parallelism=2,
        checkpoint_interval_ms=300,
        learn_state_backend="hashmap",
        drill_folder=str(folder / "drill"),
        trial_least_labels=600,
        trial_most_labels=100_000,
    )
    create_topics(settings)
    yield settings
    broker.stop()


class Jobs:
    """The jobs, each in a Flink of its own in this client's JVM."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._clients: dict[Job, Any] = {}

    def start(self, job: Job, rewind: Rewind | None = None) -> None:
        placement = Placement(checkpoints=f"file://{self._folder}", rewind=rewind)
        self._clients[job] = build(job, self._settings, placement).streams.execute_async(job.value)

    def stop(self, job: Job) -> None:
        self._clients.pop(job).cancel().result()

    def stop_all(self) -> None:
        for job in list(self._clients):
            self.stop(job)


@pytest.fixture(scope="module")
def jobs(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(settings, tmp_path_factory.mktemp("checkpoints"))
    for job in (Job.CLASSIFY, Job.LEARN):
        jobs.start(job)
    yield jobs
    jobs.stop_all()


@pytest.fixture(scope="module")
def traffic(settings: Settings, jobs: Jobs) -> Iterator[Traffic]:
    """Events that flow through both jobs."""
    with Traffic(settings) as traffic:
        yield traffic


class Reader:
    """What the jobs have committed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._log = ModelLogReader(settings.kafka, Topic.MODEL_LOG)
        self.log: list[AnyLogEntry] = []

    def records(self, topic: Topic) -> list[bytes]:
        return [record.value for batch in read_committed(self.settings.kafka, topic) for record in batch]

    def predictions(self, topic: Topic = Topic.PREDICTIONS) -> list[Prediction]:
        return [record_parser(Prediction)(value) for value in self.records(topic)]

    def entries(self) -> list[AnyLogEntry]:
        self.log += self._log.entries(TASK, after_seq=len(self.log))
        return self.log

    def labels(self) -> list[LabelEntry]:
        return [entry for entry in self.entries() if isinstance(entry, LabelEntry)]

    def changes(self) -> list[AnyChange]:
        return [entry for entry in self.entries() if isinstance(entry, AnyChange)]


@pytest.fixture(scope="module")
def reader(settings: Settings) -> Reader:
    return Reader(settings)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s until {what}"
        time.sleep(0.2)


def stored(settings: Settings, line: str, cut_seq: int, rows: list[tuple[str, str]], *, memory_mib: int = 1) -> Origin:
    """Store a release whose model has learned these texts and labels a few times over."""
    replica = Replica(TASK, memory_mib=memory_mib)
    replica.line, replica.seq = line, cut_seq
    for text, label in rows * 4:
        replica.model.learn_one(text, label)
    data = replica.snapshot()
    address = f"{TASK}.releases/{line}.safetensors"
    sha256 = ArtifactFolder(settings.artifacts).put(address, data)
    return Origin(artifact=Artifact(address=address, sha256=sha256, size_bytes=len(data)), cut_seq=cut_seq)


def ask(settings: Settings, do: str, line: str, **more: object) -> Command:
    values = {"command_id": f"{do} {line} {time.time_ns()}", "task": TASK, "do": do, "line": line, "by": "test", **more}
    command = msgspec.convert(values, Command, from_attributes=True)
    send(settings, command)
    return command


def test_a_release_takes_over_while_events_flow(settings: Settings, traffic: Traffic, reader: Reader) -> None:
    wait_until(lambda: len(reader.labels()) > 150, "labels are learned")
    cut = reader.labels()[99]
    origin = stored(settings, "r1", cut.seq, [(e.text, e.label) for e in reader.labels()[:100]])
    command = ask(settings, "serve", "r1", origin=origin, against="base", why="better", metrics={"accuracy": 0.9}, data="abc")
    entry = await_answer(settings, command, 60)
    assert isinstance(entry, ReleaseEntry)
    assert (entry.line, entry.by, entry.why, entry.metrics, entry.data) == ("r1", "test", "better", {"accuracy": 0.9}, "abc")
    assert entry.command_id == command.command_id

    def lines_by_partition() -> dict[int, set[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for prediction in reader.predictions():
            found[prediction.source.partition].add(prediction.model.line)
        return found

    wait_until(lambda: all(lines_by_partition()[p] == {"base", "r1"} for p in range(PARTITIONS)), "both instances have switched")
    wait_until(lambda: any(q.model.line == "r1" and q.trials for q in qualities(reader)), "the quality tells of line and trial")


def qualities(reader: Reader) -> list[Quality]:
    return [record_parser(Quality)(value) for value in reader.records(Topic.QUALITY)]


def test_what_cannot_be_done_is_refused_with_a_reason_and_r1_goes_on(settings: Settings, traffic: Traffic, reader: Reader) -> None:
    wait_until(lambda: any(entry.line == "r1" for entry in reader.changes()), "the first test has run")
    rows = [(e.text, e.label) for e in reader.labels()[:20]]
    good = stored(settings, "r9", 20, rows)
    assert good.artifact is not None
    corrupt = Origin(artifact=msgspec.structs.replace(good.artifact, sha256="0" * 64), cut_seq=20)
    gone = Origin(artifact=msgspec.structs.replace(good.artifact, address="default.releases/gone.safetensors"), cut_seq=20)
    asked = {
        "SHA-256": ask(settings, "serve", "r9", origin=corrupt),
        "not in": ask(settings, "shadow", "r9", origin=gone),
        "memory_mib": ask(settings, "serve", "r8", origin=stored(settings, "r8", 20, rows, memory_mib=2)),
        "at seq": ask(settings, "serve", "r9", origin=Origin(artifact=good.artifact, cut_seq=19)),
        "meant to replace base": ask(settings, "serve", "r9", origin=good, against="base"),
        "not watched": ask(settings, "drop", "nobody"),
        "not held": ask(settings, "serve", "nobody"),
        "began after": ask(settings, "serve", "r9", origin=Origin(artifact=good.artifact, cut_seq=10**9)),
    }
    with KafkaProducer(bootstrap_servers=settings.kafka) as producer:
        producer.send(Topic.MODEL_COMMANDS, b'{"do": "serve"}')
    for reason, command in asked.items():
        answer = await_answer(settings, command, 60)
        assert isinstance(answer, RefusalEntry)
        assert reason in answer.why
    answers = [entry.command_id for entry in reader.changes() if isinstance(entry, RefusalEntry)]
    assert answers == [command.command_id for command in asked.values()], "in their order, each once"
    letters = [record_parser(DeadLetter)(value) for value in reader.records(Topic.DEAD_LETTERS)]
    assert [letter.topic for letter in letters] == [Topic.MODEL_COMMANDS]
    sent = traffic.sent
    wait_until(lambda: (last := reader.predictions()[-1]).model.line == "r1" and int(last.event_id[1:]) > sent, "r1 serves on")


class HeldBack:
    """An artifact that is read when the test lets it: its file is a pipe."""

    def __init__(self, settings: Settings, origin: Origin) -> None:
        assert origin.artifact is not None
        self._file = Path(settings.artifacts, origin.artifact.address)
        self._data = self._file.read_bytes()
        self._left: list[Path] = []
        self._file.unlink()
        os.mkfifo(self._file)

    def renew(self) -> None:
        """Take another pipe: who waits now waits on."""
        self._left.append(self._file.rename(self._file.with_name(f"pipe-{len(self._left)}")))
        os.mkfifo(self._file)

    def let_go(self) -> None:
        """Let who reads now have the artifact, and who comes later; earlier ones read nothing."""
        whole = self._file.with_name("whole")
        whole.write_bytes(self._data)
        with self._file.open("wb") as pipe:
            whole.rename(self._file)
            pipe.write(self._data)
        for left in self._left:
            os.close(os.open(left, os.O_RDWR))
            left.unlink()


def test_a_command_that_waits_survives_a_crash_and_is_answered_once(settings: Settings, traffic: Traffic, reader: Reader) -> None:
    random = Random(2)
    origin = stored(settings, "s1", 50, [(text_of(random, n), f"class {n}") for n in NEW for _ in range(10)])
    held = HeldBack(settings, origin)
    command = ask(settings, "shadow", "s1", origin=origin)
    after = ask(settings, "drop", "nobody")
    learned = len(reader.entries())
    wait_until(lambda: len(reader.entries()) > learned + 300, "labels are learned while the artifact is read")
    held.renew()
    drill = Path(settings.drill_folder) / "learn"
    drill.touch()
    wait_until(lambda: not drill.exists(), "an operator of learn has failed")
    failed = len(reader.entries())
    wait_until(lambda: len(reader.entries()) > failed + 100, "learn goes on")
    assert not {entry.command_id for entry in reader.changes()} & {command.command_id, after.command_id}
    held.let_go()
    entry = await_answer(settings, command, 60)
    assert isinstance(entry, ReleaseEntry)
    assert entry.mode == "shadow"
    assert isinstance(await_answer(settings, after, 60), RefusalEntry)
    counts = Counter(entry.command_id for entry in reader.changes())
    assert (counts[command.command_id], counts[after.command_id]) == (1, 1)


def test_a_shadow_that_is_better_is_promoted(settings: Settings, traffic: Traffic, reader: Reader) -> None:
    wait_until(lambda: reader.predictions(Topic.SHADOW_PREDICTIONS), "the shadow predicts")
    drill = Path(settings.drill_folder) / "classify"
    drill.touch()
    wait_until(lambda: not drill.exists(), "a predictor has failed")
    traffic.classes = NEW
    wait_until(lambda: any(isinstance(entry, PromoteEntry) for entry in reader.changes()), "the shadow is promoted")
    (entry,) = [entry for entry in reader.changes() if isinstance(entry, PromoteEntry)]
    assert (entry.line, entry.replaces, entry.by, entry.command_id) == ("s1", "r1", "trial", None)
    assert entry.metrics["labels"] >= settings.trial_least_labels
    wait_until(lambda: reader.predictions()[-1].model.line == "s1", "it serves")
    shadows = reader.predictions(Topic.SHADOW_PREDICTIONS)
    assert {prediction.model.line for prediction in shadows} == {"s1"}
    assert max(Counter(prediction.event_id for prediction in shadows).values()) == 1


def test_a_bad_one_that_is_forced_through_is_rolled_back(settings: Settings, traffic: Traffic, reader: Reader) -> None:
    random = Random(3)
    wrong = [(text_of(random, n), f"class {(n + 7) % len(NEW)}") for n in NEW for _ in range(20)]
    command = ask(settings, "serve", "bad", origin=stored(settings, "bad", len(reader.entries()) - 50, wrong))
    assert isinstance(await_answer(settings, command, 60), ReleaseEntry)
    wait_until(lambda: any(prediction.model.line == "bad" for prediction in reader.predictions()), "it serves")
    wait_until(lambda: any(isinstance(entry, RollbackEntry) for entry in reader.changes()), "it is rolled back")
    (entry,) = [entry for entry in reader.changes() if isinstance(entry, RollbackEntry)]
    assert (entry.line, entry.replaces, entry.by) == ("s1", "bad", "trial")
    wait_until(lambda: reader.predictions()[-1].model.line == "s1", "the one before serves again")


def test_each_event_is_predicted_once_and_each_prediction_is_what_a_replay_says(
    settings: Settings, traffic: Traffic, reader: Reader
) -> None:
    traffic.__exit__()
    wait_until(lambda: len(reader.predictions()) >= traffic.sent, "all events are predicted")
    predictions = reader.predictions()
    assert sorted(prediction.event_id for prediction in predictions) == sorted(f"e{n}" for n in range(traffic.sent))
    assert {prediction.model.line for prediction in predictions} >= {"base", "r1", "s1", "bad"}
    wait_until(lambda: len(reader.labels()) == traffic.sent, "all labels are learned")
    assert [entry.seq for entry in reader.entries()] == list(range(1, len(reader.entries()) + 1))
    result = audit(settings, TASK)
    assert result.differences == []
    absorbed = Counter(
        (e.feedback.at.partition, e.feedback.at.offset) for e in reader.entries() if isinstance(e, LabelEntry | VerdictEntry)
    )
    assert set(absorbed.values()) == {1}, "each label and each verdict once, also over the crashes"
    denied = [entry.event_id for entry in reader.entries() if isinstance(entry, VerdictEntry)]
    assert sorted(entry.event_id for entry in reader.labels() if entry.marked) == sorted(denied)
    assert 0 < len(denied) <= -(-traffic.sent // WRONG_EVERY)
    assert result.predictions == traffic.sent
    assert result.shadow_predictions == len(reader.predictions(Topic.SHADOW_PREDICTIONS)) > 0
    assert result.snapshots >= 1


def test_learn_without_its_state_answers_no_command_again(settings: Settings, traffic: Traffic, jobs: Jobs, reader: Reader) -> None:
    before, letters, states = list(reader.entries()), reader.records(Topic.DEAD_LETTERS), reader.records(Topic.LABEL_STATES)
    jobs.stop(Job.LEARN)
    jobs.start(Job.LEARN, Rewind(since=0, until=now_ms()))
    last = ask(settings, "drop", "nobody-at-all")
    assert isinstance(await_answer(settings, last, 60), RefusalEntry)
    since = reader.entries()[len(before) :]
    assert [entry.command_id for entry in since if isinstance(entry, AnyChange)] == [last.command_id]
    assert not [entry for entry in since if isinstance(entry, LabelEntry | VerdictEntry)]
    assert reader.records(Topic.LABEL_STATES) == states
    assert reader.records(Topic.DEAD_LETTERS) == letters
