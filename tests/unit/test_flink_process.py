"""Where Flink's processes keep their files: each its own folder, what others left is removed, and long paths do no harm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml

from stack.cli import main
from stack.flink_configuration import FlinkEndpoints, write_configuration
from stack.flink_process import own_folder

pytestmark = pytest.mark.unit


def test_each_process_has_a_folder_and_removes_those_of_the_dead(tmp_path: Path) -> None:
    first, lock = own_folder(tmp_path, "taskmanager")
    second, other = own_folder(tmp_path, "taskmanager")
    assert first.exists(), "its process lives"
    other.release()
    (tmp_path / "t-never-used").mkdir()
    (tmp_path / "conf").mkdir()
    third, latest = own_folder(tmp_path, "jobmanager")
    assert {path.name for path in tmp_path.iterdir()} == {first.name, third.name, "conf"}, "what others keep there stays"
    assert second != third
    lock.release()
    latest.release()


@pytest.mark.parametrize(("depth", "relocated"), [(1, True), (60, False)])
def test_a_long_path_leaves_the_diary_of_rocksdb_in_its_database(depth: int, relocated: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="m") as short:
        folder = Path(short) / ("x" * depth)
        text = (write_configuration(folder, FlinkEndpoints(1, 2, 3), folder, 4, 700) / "config.yaml").read_text(encoding="utf-8")
    assert ("state.backend.rocksdb.log.dir" in yaml.safe_load(text)) is relocated


def test_the_cluster_in_containers_is_found_by_name_and_open_to_no_page(tmp_path: Path) -> None:
    at = FlinkEndpoints(8081, 6123, 6124, jobmanager="jobmanager", taskmanager="10.0.0.7", bind="192.0.2.7")
    options = yaml.safe_load((write_configuration(tmp_path, at, tmp_path, 4, 700) / "config.yaml").read_text(encoding="utf-8"))
    names = ("jobmanager.rpc.address", "taskmanager.host", "rest.bind-address")
    assert [options[name] for name in names] == ["jobmanager", "10.0.0.7", "192.0.2.7"]
    assert options["web.access-control-allow-origin"] == "http://jobmanager:8081"


def test_wrong_settings_stop_a_process_before_it_is_java(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MILLRACE_TASKS", "A")
    monkeypatch.setenv("MILLRACE_QUALITY_WINDOW", "0")
    assert main(["flink", "taskmanager"]) == 2
    said = capsys.readouterr().err
    assert "MILLRACE_TASKS" in said
    assert "MILLRACE_QUALITY_WINDOW" in said
