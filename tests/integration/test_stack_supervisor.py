"""A whole stack without jobs: its life, deaths in it, and who may start a second one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stack.cli import main
from stack.embedded import Stack
from stack.errors import AlreadyRunning, ConfigurationErrors, NotRunning
from stack.kafka import reachable
from stack.ports import NAMES
from stack.redis import answers
from stack.state import Condition, Phase, read_state

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

PARTS = {"jobmanager", "taskmanager", "redis", "kafka", "api", "refresh"}
WATCHING = {"MILLRACE_REFRESH_AFTER_LABELS": "1000000"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    found = Stack(tmp_path_factory.mktemp("stack"), {"topic_partitions": 2}, dict.fromkeys(NAMES, 0), jobs=(), environment=WATCHING)
    lines: list[str] = []
    found.start(lines.append)
    assert any("kafka: healthy" in line for line in lines)
    yield found
    found.stop()


def wait_for(stack: Stack, name: str, *, restarts: int, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        part = next(part for part in stack.state().parts if part.name == name)
        if part.restarts == restarts and part.state is Condition.HEALTHY:
            return
        assert time.monotonic() < deadline, part
        time.sleep(0.2)


def test_everything_is_up_and_says_where(stack: Stack) -> None:
    state = stack.state()
    assert state.healthy()
    assert set(stack.pids()) == PARTS | {"supervisor"}
    assert state.notes == []
    assert stack.settings.topic_partitions == 2
    assert all(isinstance(address, str) for address in stack.addresses.values())
    assert reachable(stack.addresses["kafka"])
    assert answers(stack.addresses["redis"])


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_killed_part_is_started_again_on_the_same_port(stack: Stack, name: str) -> None:
    before, addresses = stack.pids(), stack.addresses
    os.kill(before[name], signal.SIGKILL)
    wait_for(stack, name, restarts=1)
    after = stack.pids()
    assert after[name] != before[name]
    assert stack.addresses == addresses
    # The taskmanager ends by itself when it has lost its jobmanager for too long, nothing else does.
    assert {part: pid for part, pid in after.items() if part != name} == {part: pid for part, pid in before.items() if part != name}


def test_status_is_for_people_and_for_programs(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(stack.folder.root)
    assert main(["status", "--data-dir", folder]) == 0
    assert "taskmanager" in capsys.readouterr().out
    assert main(["status", "--json", "--data-dir", folder]) == 0
    assert {part["name"] for part in json.loads(capsys.readouterr().out)["parts"]} == PARTS
    assert main(["logs", "supervisor", "--data-dir", folder]) == 0
    assert "topics created" in capsys.readouterr().out
    assert main(["logs", "nobody", "--data-dir", folder]) == 1
    assert "jobmanager" in capsys.readouterr().err


def test_a_second_stack_on_the_folder_is_refused_and_says_where_the_first_is(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AlreadyRunning, match=stack.addresses["api"]):
        Stack(stack.folder.root).start()
    assert main(["up", "--data-dir", str(stack.folder.root)]) == 2
    assert "runs already" in capsys.readouterr().err
    result = subprocess.run([sys.executable, "-m", "stack.supervisor", stack.folder.root], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert stack.state().healthy()


def test_the_ports_of_a_running_stack_are_not_given_to_another(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationErrors, match="in use"):
        Stack(tmp_path, ports={"api": int(stack.addresses["api"].rsplit(":", 1)[1])}, environment={}).start()
    assert not (tmp_path / "run" / "state.json").exists()


def test_a_stack_may_use_kafka_redis_and_flink_of_another(stack: Stack, tmp_path: Path) -> None:
    where = stack.addresses
    guest = Stack(
        tmp_path, {"topic_prefix": "guest-"}, dict.fromkeys(NAMES, 0), jobs=(), environment={},
        kafka=where["kafka"], redis=where["redis"], flink=where["flink_rest"],
    )  # fmt: skip
    guest.start()
    try:
        assert set(guest.pids()) == {"supervisor", "api"}
        assert guest.state().healthy()
        # It has no trigger, so no worker, and says so.
        assert guest.state().notes == ["refresh: by hand only (`millrace refresh`): no trigger is set, see docs/releases.md"]
    finally:
        guest.stop()
    assert stack.state().healthy()


def test_a_killed_supervisor_leaves_nothing_behind_and_the_folder_can_be_used_again(tmp_path: Path) -> None:
    stack = Stack(tmp_path, ports=dict.fromkeys(NAMES, 0), jobs=(), environment=WATCHING)
    stack.start()
    pids, addresses = stack.pids(), stack.addresses
    os.kill(pids["supervisor"], signal.SIGKILL)
    processes = [psutil.Process(pid) for pid in pids.values() if psutil.pid_exists(pid)]
    assert stack._process is not None
    stack._process.wait()
    assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert stack.running() is None
    with pytest.raises(NotRunning):
        stack.state()
    stack.start()
    assert stack.addresses == addresses
    stack.stop()
    state = read_state(stack.folder.state)
    assert state is not None
    assert state.phase is Phase.STOPPED
    assert [part.pid for part in state.parts] == [None] * len(PARTS)
    assert not reachable(addresses["kafka"])


def test_without_a_stack_the_commands_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["down"], ["job", "stop", "learn"]):
        assert main([*command, "--data-dir", str(tmp_path)]) == 1
        assert "millrace up" in capsys.readouterr().err
