"""What the user gives is checked before anything starts, and all that is wrong is said at once."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path

import msgspec
import pytest

from api.access.key_file import KeyFile, new_key, write_key_file
from schemas.api_settings import ApiSettings, api_environment
from stack import parts
from stack.errors import ConfigurationErrors, StackError
from stack.java import find_java_home, packaged_java_home
from stack.plan import Wish, make_plan
from stack.ports import NAMES, choose_ports, free_ports, is_free

pytestmark = pytest.mark.unit

ANY = dict.fromkeys(NAMES, 0)


def java(folder: Path, version: str) -> str:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2023-09-19' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    return str(folder)


def test_a_plan_for_an_empty_wish(tmp_path: Path) -> None:
    plan = make_plan(Wish(data_dir=tmp_path / "new", ports=ANY, environment={"MILLRACE_TASKS": "a,b"}))
    settings = plan.read_settings()
    assert settings.tasks == ("a", "b")
    assert settings.kafka == f"127.0.0.1:{plan.ports['kafka']}"
    assert settings.redis == f"redis://127.0.0.1:{plan.ports['redis']}/0"
    assert settings.artifacts == str(tmp_path / "new" / "artifacts")
    assert plan.java_home == str(packaged_java_home())
    assert len(set(plan.ports.values())) == len(NAMES)


def test_ports_are_remembered(tmp_path: Path) -> None:
    first = make_plan(Wish(data_dir=tmp_path, ports=ANY, environment={}))
    assert make_plan(Wish(data_dir=tmp_path, environment={})).ports == first.ports
    assert make_plan(Wish(data_dir=tmp_path, ports=ANY, environment={})).ports == first.ports


def test_any_port_means_another_one_if_the_remembered_one_is_taken(tmp_path: Path) -> None:
    first = make_plan(Wish(data_dir=tmp_path, ports=ANY, environment={})).ports
    with socket.socket() as other:
        other.bind(("127.0.0.1", first["redis"]))
        other.listen()
        with pytest.raises(ConfigurationErrors, match="for redis is in use"):
            make_plan(Wish(data_dir=tmp_path, environment={}))
        again = make_plan(Wish(data_dir=tmp_path, ports={"redis": 0}, environment={})).ports
    assert again["redis"] != first["redis"]
    assert again["kafka"] == first["kafka"]


def test_overrides_win_over_the_environment(tmp_path: Path) -> None:
    wish = Wish(data_dir=tmp_path, ports=ANY, settings={"quality_window": 7}, environment={"MILLRACE_QUALITY_WINDOW": "5"})
    assert make_plan(wish).read_settings().quality_window == 7


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    closed = free_ports(3)
    wish = Wish(
        data_dir=tmp_path,
        java=java(tmp_path / "jdk", "21.0.1"),
        kafka=f"127.0.0.1:{closed[0]}",
        redis=f"redis://127.0.0.1:{closed[1]}/0",
        flink=f"127.0.0.1:{closed[2]}",
        jobs=("classify", "cook"),
        environment={"MILLRACE_QUALITY_WINDOW": "0", "MILLRACE_TASKS": "A", "MILLRACE_MODEL": "river:tree.Oak"},
    )
    with pytest.raises(ConfigurationErrors) as caught:
        make_plan(wish)
    said = caught.value.problems
    for part in (
        "is Java 21",
        "Kafka at",
        "Redis at",
        "JobManager at",
        "no job 'cook'",
        "MILLRACE_QUALITY_WINDOW",
        "MILLRACE_TASKS",
        "Oak",
    ):
        assert any(part in line for line in said), part
    assert caught.value.exit_code == 2


def test_a_port_in_use_is_named_with_its_option(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(ConfigurationErrors, match=rf"Port {port} for flink_rest is in use.*--flink-rest-port"):
            make_plan(Wish(data_dir=tmp_path, ports={**ANY, "flink_rest": port}, environment={}))
    assert not (tmp_path / "ports.json").exists()


def test_a_remembered_port_of_a_part_that_is_not_started_may_be_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        path = tmp_path / "ports.json"
        path.write_text(json.dumps({"redis": other.getsockname()[1]}), encoding="utf-8")
        assert choose_ports(path, {}, needed={"api"})[1] == []
        assert len(choose_ports(path, {}, needed={"redis"})[1]) == 1


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationErrors, match=r"cannot be written.*--data-dir"):
        make_plan(Wish(data_dir=tmp_path / "file" / "data", environment={}))


def test_java_from_the_environment(tmp_path: Path) -> None:
    home = java(tmp_path, "17.0.12")
    assert find_java_home("JAVA_HOME", {"JAVA_HOME": home}) == tmp_path
    with pytest.raises(StackError, match="JAVA_HOME is not set"):
        find_java_home("JAVA_HOME", {})
    with pytest.raises(StackError, match="cannot be run"):
        find_java_home(str(tmp_path / "nothing"))


def test_the_refresh_worker_is_planned_where_a_trigger_is_set_and_wrong_ones_are_reported_with_all_else(tmp_path: Path) -> None:
    assert make_plan(Wish(data_dir=tmp_path, ports=ANY, environment={})).refresh is None
    given = {"MILLRACE_REFRESH_EVERY_S": "3600", "MILLRACE_REFRESH_ALERT_URL": "https://hooks.example/t0k3n"}
    planned = make_plan(Wish(data_dir=tmp_path, ports=ANY, environment=given))
    assert planned.refresh is not None
    assert given.items() <= planned.refresh.items()
    assert not given.keys() & planned.settings.keys()
    wrong = {"MILLRACE_REFRESH_EVERY_S": "soon", "MILLRACE_REFRESH_MODE": "x", "MILLRACE_REFRESH_ALERT_URL": "t0k3n", "MILLRACE_TASKS": "A"}
    with pytest.raises(ConfigurationErrors) as refused:
        make_plan(Wish(data_dir=tmp_path, ports=ANY, environment=wrong))
    assert {problem.partition("=")[0] for problem in refused.value.problems} == wrong.keys()
    assert "t0k3n" not in str(refused.value)


def test_a_stack_without_torch_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = make_plan(Wish(data_dir=tmp_path, ports=ANY, environment={"MILLRACE_REFRESH_ON_DRIFT": "true"}))
    assert parts.worker_note(planned) is None
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    assert parts.worker_note(planned) == "not installed (torch): `make setup-refresh`, then `millrace down` and `millrace up`"


def test_the_settings_of_the_api_are_checked_with_all_others_and_its_files_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {"MILLRACE_API_HOST": "192.0.2.1", "MILLRACE_API_TLS_KEY": "key.pem", "MILLRACE_QUALITY_WINDOW": "0"}
    with pytest.raises(ConfigurationErrors) as caught:
        make_plan(Wish(data_dir=tmp_path / "data", ports=ANY, environment=wrong))
    said = str(caught.value)
    assert all(part in said for part in ("millrace keys create", "belong together", "MILLRACE_QUALITY_WINDOW"))
    write_key_file(Path("keys.json"), KeyFile(keys=(new_key("ana", ("admin",), now=1)[0],)))
    given = {"MILLRACE_API_HOST": "::", "MILLRACE_API_KEYS": "keys.json"}
    plan = make_plan(Wish(data_dir=tmp_path / "data", ports=ANY, environment=given))
    assert plan.read_api_settings() == ApiSettings(host="::", keys=str(tmp_path / "keys.json"))
    assert plan.api_url == f"http://127.0.0.1:{plan.ports['api']}"
    elsewhere = msgspec.structs.replace(plan, api=api_environment(ApiSettings(host="2001:db8::1", tls_certificate="c", tls_key="k")))
    assert elsewhere.api_url == f"https://[2001:db8::1]:{plan.ports['api']}"
