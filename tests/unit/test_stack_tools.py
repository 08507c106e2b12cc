"""The small things the stack is made of: lock, mailbox, state file, jars, logs, table."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from stack.errors import AlreadyRunning, NotRunning, StackError
from stack.flink_configuration import distribution
from stack.jars import CONNECTOR, Jar, _accept, broker_classpath, file_sha256, locked_jars
from stack.lock import FolderLock
from stack.mailbox import Answer, JobRequest, ask, reply, take
from stack.process import is_running, tail_lines
from stack.state import Addresses, Condition, JobState, PartState, Phase, StackState, StateFile, read_state
from stack.status_view import status_lines

pytestmark = pytest.mark.unit


def a_state(**changes: object) -> StackState:
    me = psutil.Process(os.getpid())
    addresses = Addresses(kafka="h:1", redis="redis://h:2/0", flink_rest="h:3", api="http://h:4")
    state = StackState(
        phase=Phase.RUNNING, pid=me.pid, process_started=me.create_time(), since=0.0, data_dir="/d", addresses=addresses, settings={}
    )
    for name, value in changes.items():
        setattr(state, name, value)
    return state


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    assert not first.is_held()
    first.acquire()
    assert second.is_held()
    with pytest.raises(AlreadyRunning):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_request_is_answered(tmp_path: Path) -> None:
    request = JobRequest(do="stop", job="learn")
    answers: list[Answer] = []
    asker = threading.Thread(target=lambda: answers.append(ask(tmp_path, request, timeout_s=10)))
    asker.start()
    taken: list[tuple[Path, JobRequest]] = []
    while not taken:
        taken = take(tmp_path)
    assert taken[0][1] == request
    reply(taken[0][0], ok=True, message="done")
    asker.join()
    assert answers == [Answer(ok=True, message="done")]
    assert list(tmp_path.iterdir()) == []


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="did not answer"):
        ask(tmp_path, JobRequest(do="submit", job="learn"), timeout_s=0)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_request_does_not_stop_the_supervisor(tmp_path: Path) -> None:
    (tmp_path / "x.request").write_bytes(b"{")
    assert take(tmp_path) == []
    assert b"cannot be read" in (tmp_path / "x.answer").read_bytes()


def test_the_state_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) is None
    state = a_state(parts=[PartState(name="kafka", state=Condition.HEALTHY, since=1.0, pid=5)])
    StateFile(path).write(state)
    assert read_state(path) == state
    assert state.supervisor_runs()
    assert state.healthy()


def test_a_process_id_that_was_given_to_another_process_is_not_the_supervisor() -> None:
    assert not a_state(process_started=psutil.Process(os.getpid()).create_time() - 100).supervisor_runs()
    assert not is_running(2**22 + 1, 0.0)
    assert not a_state(phase=Phase.STOPPED).supervisor_runs()


def test_troubles_name_who_is_ill_and_why() -> None:
    part = PartState(name="redis", state=Condition.FAILED, since=0.0, error="no memory")
    job = JobState(job="learn", state=Condition.REFUSED, since=0.0, error="no state")
    state = a_state(parts=[part], jobs=[job])
    assert state.troubles() == ["redis is failed: no memory", "job learn is refused: no state"]
    assert not state.healthy()
    lines = "\n".join(status_lines(state, now=90.0))
    for word in ("redis", "failed", "1 min", "no memory", "learn", "refused", "no state", "http://h:4"):
        assert word in lines


def test_the_lock_file_has_no_jar_twice_and_the_connector_is_not_the_brokers(tmp_path: Path) -> None:
    jars = locked_jars()
    names = [jar.coordinate.rsplit(":", 1)[0] for jar in jars]
    assert len(names) == len(set(names))
    assert CONNECTOR in {jar.coordinate for jar in jars}
    assert len(broker_classpath(tmp_path)) == len(jars) - 1


def test_a_jar_with_other_bytes_is_refused(tmp_path: Path) -> None:
    fetched = tmp_path / "fetched"
    fetched.write_bytes(b"something else")
    with pytest.raises(StackError, match="it is not used"):
        _accept(fetched, Jar("a:b:1", "00"), tmp_path)
    assert not (tmp_path / "b-1.jar").exists()
    _accept(fetched, Jar("a:b:1", file_sha256(fetched)), tmp_path)
    assert (tmp_path / "b-1.jar").read_bytes() == b"something else"


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail_lines(log) == []
    log.write_bytes(b"one\n\ntwo \xff\n")
    assert tail_lines(log) == ["one", "two \ufffd"]


def test_flink_is_found_in_its_package() -> None:
    assert (distribution() / "bin" / "flink").exists()
