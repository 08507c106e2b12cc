"""The registry in a real SQLite store of MLflow and in a real MLflow server, both of the test's own; and that nobody else is called."""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from kafka import KafkaProducer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]  # it has no types

from batch_model import registry_program
from batch_model.mlflow_client import Place, connect, embedded, registry_place
from batch_model.outcome import Outcome
from batch_model.registry import Recorded, Registry
from batch_model.registry_program import mlflow_command, mlflow_environment
from batch_model.report import page
from batch_model.rows import LabelledText
from schemas.log import AnyChange, ReleaseEntry
from schemas.parsing import encode
from schemas.refresh_settings import RefreshSettings
from schemas.topics import Topic
from stack.generator import generate
from tests.refresh_outcome import outcome_of

pytestmark = pytest.mark.integration

MODEL = b"the bytes of a release"

# Whoever runs with this in its path notes each address that it, or a program that it starts, connects to or looks up.
NOTES_CONNECTIONS = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open(os.environ["CONNECTIONS"], "a") as file:
            print(repr(arguments[1] if event == "socket.connect" else arguments[0]), file=file)
sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return outcome_of([LabelledText(row.text, row.label or "") for row in generate(800, seed=5)], cut_seq=560)


def another(outcome: Outcome, line: str) -> Outcome:
    return msgspec.structs.replace(outcome, manifest=msgspec.structs.replace(outcome.manifest, line=line))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return embedded(tmp_path_factory.mktemp("refresh") / "registry")


@pytest.fixture(scope="module")
def recorded(place: Place, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The refresh, written down from an empty working directory."""
    before, empty = Path.cwd(), tmp_path_factory.mktemp("empty")
    os.chdir(empty)
    try:
        found = Registry(place, "millrace").record(outcome, page(outcome), MODEL)
        assert list(empty.iterdir()) == []
    finally:
        os.chdir(before)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def server(place: Place, recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """MLflow's server on the same store, as `registry_program` starts it, and the list of what it connects to."""
    port = free_port()
    folder = tmp_path_factory.mktemp("server")
    (folder / "sitecustomize.py").write_text(NOTES_CONNECTIONS)
    (folder / "empty").mkdir()
    (folder / "home").mkdir()
    environment = mlflow_environment(os.environ, place) | {
        "PYTHONPATH": str(folder),
        "CONNECTIONS": str(folder / "connections"),
        "HOME": str(folder / "home"),
    }
    environment = {
        name: value for name, value in environment.items() if name not in {"CI", "PYTEST_CURRENT_TEST"}
    }  # they silence MLflow too
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            mlflow_command(place, port), cwd=folder / "empty", env=environment, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process, folder / "log")
        yield address, folder
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(log.read_text())


def test_a_run_holds_what_the_refresh_measured(place: Place, recorded: Recorded, outcome: Outcome) -> None:
    client, manifest, gate = connect(place), outcome.manifest, outcome.manifest.gate
    assert gate is not None
    run = client.get_run(recorded.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["line"] == manifest.line
    assert run.data.tags["seq"] == "560"
    assert run.data.tags["fingerprint"] == manifest.data.fingerprint
    assert run.data.tags["verdict"] == outcome.verdict
    assert run.data.params["learning_rate"] == str(manifest.parameters["learning_rate"])
    assert run.data.params["data/rows"] == str(manifest.data.rows)
    assert run.data.params["settings/gate_margin"] == str(outcome.settings.gate_margin)
    assert run.data.metrics["peak_memory_mib"] == outcome.peak_memory_mib
    assert run.data.metrics["challenger/accuracy"] == gate.challenger.accuracy
    assert run.data.metrics["champion/log_loss"] == gate.champion.log_loss
    assert run.data.metrics["gate/p_value"] == gate.p_value
    assert run.data.metrics["variant/full/size_bytes"] == outcome.variants[0].size_bytes
    assert run.data.metrics["seconds/train"] == outcome.stages[0].seconds
    for candidate, name in zip(outcome.candidates, ("softmax-rate-0.3", "softmax-rate-0.6"), strict=True):
        history = client.get_metric_history(recorded.run_id, f"{name}/validation_loss")
        assert [(m.step, m.value) for m in history] == [(i, e["validation_loss"]) for i, e in enumerate(candidate.epochs, start=1)]


def test_the_files_of_a_run_are_there_and_none_is_a_pickle(place: Place, recorded: Recorded, outcome: Outcome, tmp_path: Path) -> None:
    folder = Path(connect(place).download_artifacts(recorded.run_id, "", str(tmp_path)))
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    line = outcome.manifest.line
    assert files[f"model/{line}.safetensors"].read_bytes() == MODEL
    assert msgspec.json.decode(files["model/manifest.json"].read_bytes(), type=type(outcome.manifest)) == outcome.manifest
    assert files["report.html"].read_text(encoding="utf-8") == page(outcome)
    assert sum(cell["times"] for cell in msgspec.json.decode(files["confusion.json"].read_bytes())) == len(outcome.compared)
    assert sum(msgspec.json.decode(files["calibration.json"].read_bytes())["counts"]) == len(outcome.compared)
    assert msgspec.json.decode(files["confused_pairs.json"].read_bytes())[0]["examples"]
    curves = EventAccumulator(str(folder / "curves" / "softmax-rate-0.3"))
    curves.Reload()
    losses = [event.value for event in curves.Scalars("validation_loss")]
    assert losses == pytest.approx([epoch["validation_loss"] for epoch in outcome.candidates[0].epochs], rel=1e-6)
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]


def test_a_refresh_that_is_written_down_twice_is_there_once(place: Place, recorded: Recorded, outcome: Outcome) -> None:
    assert Registry(place, "millrace").record(outcome, page(outcome), MODEL) == recorded


def test_a_version_says_which_release_it_is(place: Place, recorded: Recorded, outcome: Outcome) -> None:
    version = connect(place).get_model_version("millrace-default", str(recorded.version))
    artifact = outcome.manifest.origin.artifact
    assert artifact is not None
    assert version.run_id == recorded.run_id
    assert version.tags.items() >= {"line": outcome.manifest.line, "seq": "560", "sha256": artifact.sha256, "task": "default"}.items()


def test_the_aliases_follow_the_log(tmp_path: Path, place: Place, outcome: Outcome) -> None:
    registry, client = Registry(place, "aliases"), connect(place)
    one, two = (registry.record(another(outcome, name), "<p>", MODEL) for name in ("r1-aaaa", "r2-bbbb"))
    assert one is not None
    assert two is not None

    def aliases(**states: str) -> dict[str, str]:
        assert registry.sync("default", {name.replace("_", "-"): state for name, state in states.items()})
        return {alias: str(version) for alias, version in client.get_registered_model("aliases-default").aliases.items()}

    assert aliases(base="serves") == {}
    assert aliases(base="serves", r1_aaaa="shadow") == {"challenger": one.version}
    assert aliases(base="former", r1_aaaa="serves") == {"champion": one.version}
    assert aliases(base="gone", r1_aaaa="serves", r2_bbbb="split") == {"champion": one.version, "challenger": two.version}
    assert aliases(base="gone", r1_aaaa="former", r2_bbbb="serves") == {"champion": two.version}
    assert aliases(base="gone", r1_aaaa="serves", r2_bbbb="gone") == {"champion": one.version}
    states = {version.tags["line"]: version.tags["state"] for version in client.search_model_versions("name = 'aliases-default'")}
    assert states == {"r1-aaaa": "serves", "r2-bbbb": "gone"}
    assert aliases(base="serves", r1_aaaa="gone", r2_bbbb="gone") == {}


def test_sync_reads_the_log_and_moves_the_aliases(
    place: Place, outcome: Outcome, kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(place)
    for line in ("r1-aaaa", "r2-bbbb"):
        assert Registry(place, "by-hand").record(another(outcome, line), "<p>", MODEL)
    entries: list[AnyChange] = [
        ReleaseEntry(seq=1, task="default", time=1, line="r1-aaaa", by="test", why="", origin=outcome.manifest.origin),
        ReleaseEntry(seq=2, task="default", time=2, line="r2-bbbb", by="test", why="", origin=outcome.manifest.origin, mode="shadow"),
    ]
    producer = KafkaProducer(bootstrap_servers=kafka)
    for entry in entries:
        producer.send(topic_prefix + Topic.MODEL_LOG, encode(entry), key=b"default").get(timeout=30)
    producer.close()
    monkeypatch.setenv("MILLRACE_KAFKA", kafka)
    monkeypatch.setenv("MILLRACE_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("MILLRACE_REFRESH_REGISTRY", place.address)
    monkeypatch.setenv("MILLRACE_REFRESH_EXPERIMENT", "by-hand")
    parser = argparse.ArgumentParser()
    registry_program.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["registry", "sync"])
    assert arguments.func(arguments) == 0
    champion, challenger = (client.get_model_version_by_alias("by-hand-default", name) for name in ("champion", "challenger"))
    assert (champion.tags["line"], challenger.tags["line"]) == ("r1-aaaa", "r2-bbbb")


def test_a_task_without_releases_has_no_aliases_to_move(place: Place, recorded: Recorded) -> None:
    assert Registry(place, "millrace").sync("another", {"base": "serves"})


def test_a_server_takes_the_same(server: tuple[str, Path], outcome: Outcome, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address, _ = server
    registry = Registry(Place(address), "over-http")
    made = another(outcome, "r9-cccc")
    model = os.urandom(100_000)
    capfd.readouterr()
    found = registry.record(made, page(made), model)
    assert found is not None
    assert capfd.readouterr().out == "", "standard output belongs to the result of the refresh, which the worker reads"
    assert registry.sync("default", {"base": "former", "r9-cccc": "serves"})
    client = connect(Place(address))
    version = client.get_model_version_by_alias("over-http-default", "champion")
    assert (version.version, version.run_id) == (found.version, found.run_id)
    fetched = Path(client.download_artifacts(found.run_id, "model/r9-cccc.safetensors", str(tmp_path)))
    assert hashlib.sha256(fetched.read_bytes()).digest() == hashlib.sha256(model).digest()
    assert registry.record(made, page(made), model) == found


def test_the_server_calls_nobody_and_leaves_its_folder_alone(server: tuple[str, Path], recorded: Recorded) -> None:
    address, folder = server
    assert httpx.get(address).is_success
    assert "over" in httpx.get(f"{address}/get-artifact", params={"run_id": recorded.run_id, "path": "report.html"}).text
    assert {called for called in connections(folder / "connections") if "docker.sock" not in called} == set()  # it looks for a local Docker
    assert list((folder / "empty").iterdir()) == []
    assert list((folder / "home").rglob("telemetry*")) == []


def test_writing_down_calls_nobody(outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOTES_CONNECTIONS)
    (tmp_path / "outcome.json").write_bytes(msgspec.json.encode(outcome))
    (tmp_path / "empty").mkdir()
    program = """
import socket, sys
from pathlib import Path
import msgspec
from batch_model.mlflow_client import embedded
from batch_model.outcome import Outcome
from batch_model.registry import Registry
outcome = msgspec.json.decode(Path("../outcome.json").read_bytes(), type=Outcome)
assert Registry(embedded(Path("../registry")), "millrace").record(outcome, "", b"model")
assert Registry(embedded(Path("../registry")), "millrace").sync("default", {"base": "serves"})
assert not {"torch", "pickle5"} & set(sys.modules)
socket.socket().connect_ex(("127.0.0.1", 9))
"""
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_CURRENT_TEST"}}
    environment |= {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "CONNECTIONS": str(tmp_path / "connections")}
    environment |= {"HOME": str(tmp_path / "empty")}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "empty", env=environment, check=True, timeout=100)
    assert connections(tmp_path / "connections") == {"('127.0.0.1', 9)"}  # the program's own, at its end: so the list is kept
    assert list((tmp_path / "empty").iterdir()) == []


def connections(file: Path) -> set[str]:
    return set(file.read_text().splitlines()) if file.exists() else set()


@pytest.mark.parametrize(
    "broken", ["server that is not there", "server with a password", "file that is no database", "folder that cannot be made"]
)
def test_a_registry_that_fails_is_said_and_fails_nothing_else(
    broken: str, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    place = {
        "server that is not there": Place("http://127.0.0.1:9"),
        "server with a password": Place("http://me:s3cr3t@127.0.0.1:9"),
        "file that is no database": embedded(tmp_path),
        "folder that cannot be made": embedded(tmp_path / "mlflow.db" / "registry"),
    }[broken]
    registry = Registry(place, "millrace")
    assert registry.record(outcome, "", None) is None
    assert not registry.sync("default", {"base": "serves"})
    assert "a refresh was not written to the registry" in caplog.text
    assert "the registry does not know what serves task default" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_the_settings_say_where_the_registry_is(tmp_path: Path) -> None:
    assert registry_place(RefreshSettings(), tmp_path) == embedded(tmp_path / "registry")
    assert registry_place(RefreshSettings(registry="none"), tmp_path) is None
    assert registry_place(RefreshSettings(registry="http://mlflow:5000/"), tmp_path) == Place("http://mlflow:5000")
    beside = Place(f"sqlite:///{tmp_path}/a.db", (tmp_path / "artifacts").as_uri())
    assert registry_place(RefreshSettings(registry=f"sqlite:///{tmp_path}/a.db"), tmp_path) == beside
