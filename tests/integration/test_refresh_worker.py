"""The worker on a real log: what it sees, that it starts the real refresh, what a failed one leads to, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest
from kafka import KafkaProducer

from batch_model.folder import RefreshFolder, lock_path
from batch_model.triggers import State
from batch_model.worker import Worker
from batch_model.worker_memory import Memory
from batch_model.worker_metrics import Metrics
from schemas.log import Origin, ReleaseEntry
from schemas.parsing import encode
from schemas.records import ModelVersion, Quality, Scores
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.worker_settings import WorkerSettings, worker_environment
from stack.ports import free_ports
from store.model_history import ModelHistory
from store.model_log import ModelLogReader
from tests.integration.played_learner import PlayedLearner, manifest, release, snapshot, store
from tests.integration.test_refresh import LABELS, environment, labels, settings  # noqa: F401 - fixtures
from tests.integration.test_refresh_alerts import Webhook

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WAIT_S = 120.0


@pytest.fixture
def learner(settings: Settings) -> Iterator[PlayedLearner]:  # noqa: F811 - the fixture
    learner = PlayedLearner(settings)
    with learner.answering():
        yield learner


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.close()


@pytest.fixture
def folder(environment: dict[str, str]) -> Path:  # noqa: F811 - the fixture
    path = Path(environment["MILLRACE_REFRESH_FOLDER"])
    path.mkdir(parents=True)
    return path


@pytest.fixture
def make(settings: Settings, folder: Path) -> Iterator[Callable[[WorkerSettings], tuple[Worker, Metrics]]]:  # noqa: F811 - the fixture
    made: list[Worker] = []

    def make(wanted: WorkerSettings) -> tuple[Worker, Metrics]:
        metrics = Metrics()
        made.append(Worker(settings, wanted, folder, metrics))
        return made[-1], metrics

    yield make
    for worker in made:
        worker.close()


def tick_until(worker: Worker, is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_done():
        assert time.monotonic() < deadline
        worker.tick()


def value(metrics: Metrics, name: str, **wanted: str) -> float | None:
    found = metrics._values[name].get(tuple(sorted({"task": "default", **wanted}.items())))
    return None if found is None else float(found)


def write_quality(settings: Settings, *, window: float, labels: int, alarms: int = 0) -> None:  # noqa: F811 - no fixture here
    def scores(count: int, accuracy: float) -> Scores:
        return Scores(labels=count, accuracy=accuracy, macro_f1=0, log_loss=0, per_class={})

    seen, all_ = scores(labels, window), scores(500, 0.5)
    quality = Quality(
        task="default", time=1, model=ModelVersion(line="base", seq=1), model_time=1, overall=all_, window=seen,
        window_size=100, alarms=alarms,
    )  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    producer.send(settings.topic_prefix + Topic.QUALITY, encode(quality), key=b"default").get(10)
    producer.close()


def test_a_failed_refresh_changes_nothing_is_told_and_tried_again(
    settings: Settings,  # noqa: F811 - the fixture
    learner: PlayedLearner,
    folder: Path,
    webhook: Webhook,
    make: Callable[[WorkerSettings], tuple[Worker, Metrics]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MILLRACE_REFRESH_GATE_LEAST_LABELS", "100000")
    # A champion that has hardly learned anything: whatever the training finds is better.
    monkeypatch.setenv("MILLRACE_MODEL", "softmax?memory_mib=1&learning_rate=0.001")
    worker, metrics = make(WorkerSettings(after_labels=LABELS, least_labels=1, pause_s=0, retry_s=3, alert_url=webhook.url))
    learner.write(*labels(LABELS - 1))
    tick_until(worker, lambda: value(metrics, "millrace_refresh_new_labels") == LABELS - 1)
    assert worker._run is None
    # A refresh by hand goes on: the worker waits until it is over.
    with RefreshFolder(folder, "default", lock=lock_path(settings, "default")).alone():
        learner.write(*labels(1, first=LABELS))
        tick_until(worker, lambda: value(metrics, "millrace_refresh_new_labels") == LABELS)
        worker.tick()
        assert worker._run is None

    tick_until(worker, lambda: value(metrics, "millrace_refresh_failures_in_a_row") == 1)
    tick_until(worker, lambda: len(webhook.bodies) == 1)
    assert (webhook.bodies[0]["alert"], webhook.bodies[0]["state"]) == ("refresh_failed", "raised")
    assert "are too few for a refresh" in webhook.bodies[0]["why"]
    assert value(metrics, "millrace_alert", alert="refresh_failed") == 1
    history = ModelHistory.read(ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG), "default")
    assert history.changes == []

    monkeypatch.setenv("MILLRACE_REFRESH_GATE_LEAST_LABELS", "150")
    tick_until(worker, lambda: len(webhook.bodies) == 2)
    assert webhook.bodies[1]["state"] == "resolved"
    assert value(metrics, "millrace_refresh_runs_total", outcome="done", trigger="labels") == 1
    history = ModelHistory.read(ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG), "default")
    assert len(history.changes) == 1, (folder / "worker-default.json").read_text()
    change = history.changes[0]
    assert isinstance(change, ReleaseEntry)
    assert (change.by, history.champion) == ("worker", change.line)
    assert f"{LABELS} labels since the last refresh" in change.why
    tick_until(worker, lambda: value(metrics, "millrace_refresh_new_labels") == 0)
    worker.tick()
    assert worker._run is None
    # Another worker on the same folder knows what this one has done.
    assert Memory(folder / "worker.json").load()["default"].cut_seq == LABELS


def test_what_it_sees(
    settings: Settings,  # noqa: F811 - the fixture
    learner: PlayedLearner,
    folder: Path,
    make: Callable[[WorkerSettings], tuple[Worker, Metrics]],
) -> None:
    Memory(folder / "worker.json").save({"default": State(since=0.0, done_at=1.0, tried_at=1.0, cut_seq=2, alarms=3)})
    learner.write(*labels(3), snapshot(4), *labels(2, first=5))
    write_quality(settings, window=0.75, labels=99, alarms=2)
    worker, metrics = make(WorkerSettings(on_drift=True, on_fall=0.1, stale_labels_s=60, least_labels=1000))
    tick_until(worker, lambda: value(metrics, "millrace_drift_alarms_total") == 2)
    assert value(metrics, "millrace_refresh_new_labels") == 3
    assert value(metrics, "millrace_window_accuracy") is None, "the window is not full yet"
    assert value(metrics, "millrace_last_label_timestamp_seconds") == pytest.approx(1_700_000_000.006)
    assert value(metrics, "millrace_alert", alert="labels_stale") == 1
    with closing(KafkaProducer(bootstrap_servers=settings.kafka)) as producer:
        producer.send(settings.topic_prefix + Topic.QUALITY, b"no record of ours", key=b"default").get(10)
    write_quality(settings, window=0.75, labels=100, alarms=4)
    tick_until(worker, lambda: value(metrics, "millrace_window_accuracy") == 0.75)
    # A release by hand counts as a refresh that saw the labels of its gate too.
    made = manifest("r9-z")
    store(settings, msgspec.structs.replace(made, created_at=9000, origin=Origin(cut_seq=2)))
    learner.write(release(7, "r9-z", time_ms=9500))
    tick_until(worker, lambda: "r9-z" in worker._watching.released("default"))
    worker._next_look = 0.0
    tick_until(worker, lambda: value(metrics, "millrace_refresh_last_done_timestamp_seconds") == 9.0)
    tick_until(worker, lambda: value(metrics, "millrace_refresh_new_labels") == 0)


def test_a_failure_is_told_after_a_restart_and_is_over_with_a_release_that_came_in_not_with_one_that_was_refused(
    settings: Settings,  # noqa: F811 - the fixture
    learner: PlayedLearner,
    folder: Path,
    make: Callable[[WorkerSettings], tuple[Worker, Metrics]],
) -> None:
    now = time.time()
    failed = State(since=1.0, done_at=5.0, tried_at=now, failures=2, cut_seq=1, reason="refused: stale")
    Memory(folder / "worker.json").save({"default": failed})
    learner.write(*labels(3))
    # Its artifact was stored before the learner refused it.
    store(settings, msgspec.structs.replace(manifest("r2-a"), created_at=8000, origin=Origin(cut_seq=1)))
    worker, metrics = make(WorkerSettings(after_labels=1, least_labels=1, retry_s=3600))
    tick_until(worker, lambda: value(metrics, "millrace_refresh_new_labels") is not None)
    assert value(metrics, "millrace_refresh_failures_in_a_row") == 2
    assert value(metrics, "millrace_refresh_last_done_timestamp_seconds") == 5.0
    assert value(metrics, "millrace_alert", alert="refresh_failed") == 1
    assert "refused: stale" in worker._alerts._raised["refresh_failed", "default"]

    learner.write(release(4, "r2-a", time_ms=8500))
    tick_until(worker, lambda: "r2-a" in worker._watching.released("default"))
    worker._next_look = 0.0
    tick_until(worker, lambda: value(metrics, "millrace_refresh_failures_in_a_row") == 0)
    tick_until(worker, lambda: value(metrics, "millrace_alert", alert="refresh_failed") == 0)


def test_the_program_shows_metrics_and_leaves_no_refresh_behind(
    settings: Settings,  # noqa: F811 - the fixture
    learner: PlayedLearner,
    environment: dict[str, str],  # noqa: F811 - the fixture
    folder: Path,
) -> None:
    learner.write(*labels(LABELS))
    (port,) = free_ports(1)
    wanted = WorkerSettings(after_labels=10, least_labels=1, stale_labels_s=60, alert_url="http://127.0.0.1:1/t0k3n")
    variables = {**os.environ, **environment, **worker_environment(wanted)}

    def begun() -> tuple[subprocess.Popen[bytes], psutil.Process]:
        with (folder / "out").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "batch_model.worker", "--port", str(port)], env=variables, stderr=out, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + WAIT_S
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            while True:
                assert process.poll() is None, (folder / "out").read_text()
                assert time.monotonic() < deadline
                try:
                    if 'millrace_refresh_running{task="default"} 1' in client.get("/metrics").text:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        (refresh,) = psutil.Process(process.pid).children()
        return process, refresh

    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
        process, refresh = begun()
        process.send_signal(end)
        assert process.wait(60) == code
        psutil.wait_procs([refresh], timeout=60)
        assert not refresh.is_running()
    said = (folder / "out").read_text()
    assert "alert labels_stale of task default raised" in said
    assert "t0k3n" not in said
    history = ModelHistory.read(ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG), "default")
    assert history.changes == []


def test_wrong_settings_end_the_program_with_all_that_is_wrong() -> None:
    wrong = {"MILLRACE_REFRESH_EVERY_S": "-1", "MILLRACE_REFRESH_ALERT_URL": "ftp://s3cret", "PATH": os.environ["PATH"]}
    ended = subprocess.run([sys.executable, "-m", "batch_model.worker"], env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "MILLRACE_REFRESH_EVERY_S" in ended.stderr
    assert "MILLRACE_REFRESH_ALERT_URL" in ended.stderr
    assert "s3cret" not in ended.stderr
