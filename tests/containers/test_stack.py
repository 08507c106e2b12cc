"""The whole container stack, one story: a demo to its end, every container killed, down and up, another parallelism, another version.

The state is one, so the order counts. Figures are printed (`make test-containers` shows them).
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas.parsing import record_parser
from schemas.records import Prediction
from schemas.topics import Topic
from stack.embedded import Stack
from stack.generator import generate
from store.committed import end_offsets, read_committed
from tests.containers.compose import ROOT, Compose, Sending, assert_exact, docker, project, tell, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

AIRLINE = ROOT.parent / "shared" / "data" / "us_airline.jsonl.gz"
CRASHED = ("taskmanager", "jobs", "jobmanager", "kafka", "redis", "api", "refresh", "mlflow")
RATE = 100
UPGRADE_RATE = 500
UPGRADED = {
    "jobmanager": "jobs", "taskmanager": "jobs", "jobs": "jobs", "api": "api", "refresh": "refresh", "mlflow": "refresh",
}  # fmt: skip
"""The services of our images, and which one each runs."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Compose]:
    with project("stack") as compose:
        compose.call("build", timeout_s=1800)
        tell(f"up and healthy after {compose.start():.0f} s")
        yield compose


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """us_airline where it is, else a generated stream of the same length."""
    if AIRLINE.exists():
        return AIRLINE
    tell(f"{AIRLINE} is not there: the generated stream stands in")
    path = tmp_path_factory.mktemp("stream") / "generated.jsonl"
    rows = list(generate(14_640, seed=1))
    path.write_text("".join(json.dumps({"text": row.text, "label": row.label}) + "\n" for row in rows), encoding="utf-8")
    return path


def committed(compose: Compose, topic: Topic = Topic.PREDICTIONS) -> int:
    return sum(end_offsets(compose.settings.kafka, [topic.value])[topic.value].values())


def flows(compose: Compose, more: int) -> None:
    """Wait until so many more predictions are committed."""
    before = committed(compose)
    wait_until(lambda: committed(compose) > before + more, f"{more} more predictions are committed", 180)


def stream_of(seconds: int, rate: int) -> tuple[str, ...]:
    """Return the flags for a generated stream."""
    events = str(rate * seconds)
    return ("--rate", str(rate), "--label-delay-s", "1", "--events", events, "--limit", events)


def audited(compose: Compose) -> dict[str, Any]:
    """Rebuild the model from the log, and compare it with the snapshots and with every prediction."""
    found: dict[str, Any] = json.loads(compose.execute("jobs", "millrace", "audit", "--json"))
    assert found["differences"] == []
    return found


def script(compose: Compose, name: str, *arguments: str) -> str:
    """Run one of docker/*.sh on the project."""
    variables = compose.environment() | {"COMPOSE_PROJECT_NAME": compose.project, "COMPOSE_ENV_FILES": "/dev/null"}
    result = subprocess.run(
        [str(ROOT / "docker" / name), *arguments], env=variables, capture_output=True, text=True, timeout=900, check=False
    )
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}\n{compose.logs()}"
    return result.stdout


def longest_gap_s(compose: Compose, since_ms: int) -> float:
    """Return the longest time between two committed predictions, by the time at which Kafka wrote them."""
    batches = read_committed(compose.settings.kafka, Topic.PREDICTIONS.value)
    times = sorted(record.timestamp for batch in batches for record in batch if record.timestamp >= since_ms)
    return float(max(later - before for before, later in pairwise(times))) / 1000


def test_the_demo_ends_with_the_report_of_the_embedded_stack(stack: Compose, stream: Path, tmp_path: Path) -> None:
    flags = ("--rate", "300", "--label-delay-s", "1")
    folder = tmp_path / "data"
    embedded = Stack(folder, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
    command = [sys.executable, "-m", "stack", "replay", str(stream), "--data-dir", str(folder), *flags]
    try:
        embedded.start()
        subprocess.run([*command, "--report", str(tmp_path / "embedded.json")], check=True, timeout=600, stdout=subprocess.DEVNULL)
    finally:
        embedded.stop(savepoint=False)
    expected = json.loads((tmp_path / "embedded.json").read_text())
    found = Sending(stack, *flags, file=stream).report()
    for report in (expected, found):
        assert_exact(report)
    for name in ("events_sent", "labels_sent", "predictions", "labels"):
        assert found[name] == expected[name], name
    score, reference = (one["served"]["accuracy_last_half"] for one in (found, expected))
    assert score == pytest.approx(reference, abs=0.01)
    tell(f"demo of {stream.name}: {found['events_sent']} events, exact, last half {score:.4f} right (embedded {reference:.4f})")
    assert audited(stack)["predictions"] == found["predictions"]


def test_every_container_dies_and_the_counts_are_the_same(stack: Compose) -> None:
    sending = Sending(stack, *stream_of(240, RATE))
    flows(stack, RATE)
    for service in CRASHED:
        name, began = stack.container(service), started_at(stack.container(service))
        died = time.monotonic()
        # All processes of it but the first, which only waits for the others: so ends a crash, and the engine starts it again.
        stack.execute(service, "sh", "-c", "kill -9 -1", check=False)
        wait_until(functools.partial(is_another_start, name, began), f"{service} is started again", 180)
        stack.await_healthy(180)
        back = time.monotonic() - died
        flows(stack, RATE)
        tell(f"{service} crashed: all healthy after {back:.0f} s, and {RATE} more predictions after {time.monotonic() - died:.0f} s")
    assert sending.running, "the stream was to go on until the last of them was killed"
    report = sending.report()
    assert_exact(report)
    audited(stack)
    tell(f"after {len(CRASHED)} crashes: {report['events_sent']} events, exact")


def started_at(container: str) -> str:
    return docker("inspect", "--format", "{{.State.StartedAt}}", container)


def is_another_start(container: str, began: str) -> bool:
    return started_at(container) != began and docker("inspect", "--format", "{{.State.Running}}", container).strip() == "true"


def test_what_docker_kill_stops_comes_back_by_up(stack: Compose) -> None:
    names = {service: stack.container(service) for service in CRASHED}
    sending = Sending(stack, *stream_of(360, RATE))
    flows(stack, RATE)
    for service, name in names.items():
        killed = time.monotonic()
        docker("kill", name)
        took = stack.start()
        flows(stack, RATE)
        back = time.monotonic() - killed
        tell(f"{service} by `docker kill`, then `up`: all healthy after {took:.0f} s, and {RATE} more predictions after {back:.0f} s")
    for name in names.values():
        docker("kill", name)
    took = stack.start()
    tell(f"all {len(names)} containers by `docker kill`, then `up`: healthy after {took:.0f} s")
    assert sending.running, "the stream was to go on until all of them were killed"
    report = sending.report()
    assert_exact(report)
    tell(f"after these: {report['events_sent']} events, exact")
    audited(stack)


def test_down_and_up_keep_model_states_and_offsets(stack: Compose, tmp_path: Path) -> None:
    before = audited(stack)
    with stack.api() as api:
        counts = api.get("/v1/counts").json()
    stack.call("down", "--timeout", "180")
    assert stack.containers() == []
    took = stack.start()
    after = audited(stack)
    assert (after["entries"], after["fingerprint"], after["predictions"]) == (
        before["entries"],
        before["fingerprint"],
        before["predictions"],
    )
    assert all(job["started_from"] and "/savepoints/" in job["started_from"] for job in stack.status()["jobs"])
    with stack.api() as api:
        assert api.get("/v1/counts").json() == counts
    tell(f"down and up: the same model, counts and offsets; up after {took:.0f} s")

    script(stack, "backup.sh", str(tmp_path / "backup"))
    stack.remove()
    script(stack, "restore.sh", str(tmp_path / "backup"))
    stack.start()
    restored = audited(stack)
    assert (restored["entries"], restored["fingerprint"], restored["predictions"]) == (
        before["entries"], before["fingerprint"], before["predictions"],
    )  # fmt: skip
    assert_exact(Sending(stack, "--rate", "300", "--label-delay-s", "1", "--limit", "1500").report())
    tell("backed up, removed, restored: the same again")


def test_another_parallelism_loses_and_repeats_nothing(stack: Compose) -> None:
    sending = Sending(stack, *stream_of(300, RATE))
    for parallelism in (4, 2, 4):
        began = int(time.time() * 1000)
        stack.set(MILLRACE_CLASSIFY_PARALLELISM=str(parallelism), MILLRACE_TASKMANAGERS="2")
        started = time.monotonic()
        script(stack, "upgrade.sh")
        stack.await_healthy()
        assert running_parallelism(stack) == parallelism
        assert all(one["freeSlots"] < one["slotsNumber"] for one in flink(stack, "/taskmanagers")["taskmanagers"]), "both take their share"
        assert all("/savepoints/" in job["started_from"] for job in stack.status()["jobs"])
        flows(stack, RATE)
        gap, took = longest_gap_s(stack, began), time.monotonic() - started
        tell(f"parallelism {parallelism} on two TaskManagers: {took:.0f} s, no predictions for {gap:.1f} s")
    assert sending.running
    assert_exact(sending.report())
    audited(stack)


def flink(stack: Compose, path: str) -> dict[str, Any]:
    """Ask Flink's REST interface, which only its neighbours reach."""
    code = f"import urllib.request as r; print(r.urlopen('http://jobmanager:8081{path}').read().decode())"
    return dict(json.loads(stack.execute("jobs", "python", "-c", code)))


def running_parallelism(stack: Compose) -> int:
    (job,) = [job for job in stack.status()["jobs"] if job["job"] == "classify"]
    return max(int(vertex["parallelism"]) for vertex in flink(stack, f"/jobs/{job['id']}")["vertices"])


def test_an_upgrade_under_load_and_back_loses_and_repeats_nothing(stack: Compose) -> None:
    images = [f"millrace-{name}" for name in ("jobs", "api", "refresh")]
    for image in images:
        # Another image of the same code, as a build of another version is.
        build = ["docker", "build", "--quiet", "--tag", f"{image}:next", "--label", "version=next", "-"]
        subprocess.run(build, input=f"FROM {image}:0.1.0\n", text=True, check=True, capture_output=True, env=stack.environment())
    try:
        stack.set(MILLRACE_CLASSIFY_PARALLELISM="1", MILLRACE_TASKMANAGERS="1")
        script(stack, "upgrade.sh")
        sending = Sending(stack, *stream_of(150, UPGRADE_RATE))
        flows(stack, 5 * UPGRADE_RATE)
        for version in ("next", "0.1.0"):
            began, started = int(time.time() * 1000), time.monotonic()
            script(stack, "upgrade.sh", version)
            stack.set(MILLRACE_VERSION=version)
            stack.await_healthy()
            running = {c["Service"]: c["Image"] for c in stack.containers() if c["Service"] in UPGRADED}
            assert running == {service: f"millrace-{image}:{version}" for service, image in UPGRADED.items()}
            flows(stack, UPGRADE_RATE)
            gap, took = longest_gap_s(stack, began), time.monotonic() - started
            tell(f"to version {version} at {UPGRADE_RATE} events/s: {took:.0f} s, no predictions for {gap:.1f} s")
        assert_exact(sending.report())
        audited(stack)
    finally:
        for image in images:
            docker("image", "rm", "--force", f"{image}:next")


def test_each_event_was_answered_once_over_the_whole_story(stack: Compose) -> None:
    parse = record_parser(Prediction)
    batches = read_committed(stack.settings.kafka, Topic.PREDICTIONS.value)
    sources = Counter((p.source.partition, p.source.offset) for batch in batches for p in (parse(record.value) for record in batch))
    assert sources.total() == committed(stack, Topic.EVENTS)
    assert set(sources.values()) == {1}
