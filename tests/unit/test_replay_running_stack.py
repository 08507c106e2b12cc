import argparse
import os
from pathlib import Path

import psutil
import pytest

from schemas.settings import Settings, as_environment
from stack import demo
from stack.errors import NotRunning
from stack.folders import DataFolder
from stack.live_table import shown
from stack.measured_run import Moment
from stack.running_stack import pids, probe_of, restart_counters, settings_of
from stack.sampling import Sampler, StackProbe, resident_mib
from stack.sender import Sent
from stack.state import Addresses, Condition, JobState, PartState, Phase, StackState, StateFile
from stack.watch import Shown, Status

pytestmark = pytest.mark.unit

SETTINGS = Settings(kafka="127.0.0.1:1", topic_prefix="mine-")


def write_state(folder: Path, *, phase: Phase = Phase.RUNNING) -> StackState:
    state = StackState(
        phase=phase,
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        since=1.0,
        data_dir=str(folder),
        addresses=Addresses(kafka="127.0.0.1:1", redis="", flink_rest="127.0.0.1:1", api=""),
        settings=as_environment(SETTINGS),
        parts=[PartState(name="kafka", state=Condition.HEALTHY, since=1.0, pid=os.getpid(), restarts=2)],
        jobs=[JobState(job="learn", state=Condition.HEALTHY, since=1.0, id="abc", restarts=3, resubmissions=1)],
    )
    data = DataFolder(folder)
    data.create()
    StateFile(data.state).write(state)
    return state


def test_the_settings_of_a_running_stack(tmp_path: Path) -> None:
    write_state(tmp_path)
    assert settings_of(tmp_path) == SETTINGS
    assert probe_of(tmp_path) is not None


def test_no_stack_on_a_named_folder_is_an_error_and_on_the_default_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(tmp_path, phase=Phase.STOPPED)
    with pytest.raises(NotRunning, match="millrace up --data-dir"):
        settings_of(tmp_path)
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path / "none"))
    assert settings_of(None) is None
    assert probe_of(None) is None


def test_counters_are_those_of_the_state_when_flink_does_not_answer(tmp_path: Path) -> None:
    state = write_state(tmp_path)
    assert restart_counters(state) == {"part kafka": 2, "submissions of learn": 1, "job abc": 3}
    assert pids(state) == [os.getpid()] * 2
    assert (restart_counters(None), pids(None)) == ({}, [])


def test_memory_and_restarts_are_sampled() -> None:
    counters = {"a": 1}
    with Sampler(StackProbe(lambda: [os.getpid(), os.getpid(), 2**22 + 1], lambda: dict(counters))) as sampler:
        counters["a"] = 3
    assert sampler.restarts == 2
    assert sampler.peak_rss_mib is not None
    assert 10 < sampler.peak_rss_mib < 20_000
    assert resident_mib([]) == 0
    with Sampler(None) as nothing:
        pass
    assert nothing.restarts is nothing.peak_rss_mib is None


def test_a_temporary_folder_is_removed_a_kept_or_given_one_is_not(tmp_path: Path) -> None:
    with demo.data_folder(None, keep=False) as gone, demo.data_folder(None, keep=True) as kept:
        assert gone.is_dir()
        assert gone != kept
    assert not gone.exists()
    assert kept.is_dir()
    kept.rmdir()
    with demo.data_folder(tmp_path, keep=False) as given:
        assert given == tmp_path
    assert tmp_path.is_dir()


def test_a_missing_dataset_or_an_unwritable_report_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    demo.add_parser(parser.add_subparsers())
    args = parser.parse_args(["demo", "--dataset", str(tmp_path / "no.jsonl.gz"), "--data-dir", str(tmp_path / "data")])
    assert args.func(args) == 2
    assert "no.jsonl.gz: no such file" in capsys.readouterr().err
    args = parser.parse_args(["demo", "--report", str(tmp_path), "--data-dir", str(tmp_path / "data")])
    assert args.func(args) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_plain_lines_when_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    status = Status(
        predictions=9, visible=8, seq=3, states={"trained": 3}, accuracy_window=0.5, latest=[Shown(text="x", label=None, probability=0.0)]
    )
    with shown({}) as show:
        for seconds in (0.5, 1.1, 1.5, 2.2):
            show(Moment(Sent(run_id="r", started=0, events=10, labels=4), status, seconds))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"     {n} s  sent 10 events, 4 labels | 9 predicted, 8 in Redis, accuracy 50.0%, model 3 | 3 trained" for n in (1, 2)]
