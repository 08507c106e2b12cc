"""The refresh as a program: its flags, its folder and lock, its stages, and offline what it writes and refuses."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from batch_model.__main__ import main
from batch_model.challenger import flat
from batch_model.data import DataError, Taught, Window
from batch_model.flags import STAGES
from batch_model.folder import AlreadyRefreshing, Plan, RefreshFolder, lock_path, refresh_root
from batch_model.log_data import LogLabels, from_log, given_again
from batch_model.offline import specification_of
from batch_model.refresh import RefreshError, answer_to
from batch_model.rows import LabelledText
from batch_model.stages import Stages
from online_model.replica import Replica
from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings
from stack import refresh_command
from stack.cli import main as millrace
from stack.generator import generate
from store.file_lock import FileLock, LockHeld
from tests.integration.played_learner import release

pytestmark = pytest.mark.unit


def plan(seq: int = 5, *, created_at_s: float | None = None) -> Plan:
    now = time.time() if created_at_s is None else created_at_s
    return Plan(cut_seq=seq, champion="base", fingerprint="f", settings="{}", command_id="c", created_at_s=now)


def test_unfinished_work_is_found_again_until_it_is_finished_replaced_or_old(tmp_path: Path) -> None:
    folder = RefreshFolder(tmp_path, "default")
    with folder.alone():
        assert folder.unfinished() is None
        folder.begin(plan())
        (folder.training / "checkpoint").write_bytes(b"half")
        found = RefreshFolder(tmp_path, "default").unfinished()
        assert found is not None
        assert found.cut_seq == 5
        folder.begin(plan(6))
        assert list(folder.training.iterdir()) == [], "what belongs to another plan is removed"
        folder.begin(plan(created_at_s=time.time() - 90_000))
        assert folder.unfinished() is None
        folder.finish()
        assert not folder.work.exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"cut_seq": "x"}'])
def test_a_plan_that_was_torn_is_none(content: bytes, tmp_path: Path) -> None:
    folder = RefreshFolder(tmp_path, "default")
    with folder.alone():
        folder.begin(plan())
        (folder.work / "plan.json").write_bytes(content)
        assert folder.unfinished() is None


def test_one_refresh_of_a_task_and_others_of_other_tasks(tmp_path: Path) -> None:
    said = f"task a is being refreshed already, by process {os.getpid()} of "
    with RefreshFolder(tmp_path, "a").alone(), RefreshFolder(tmp_path, "b").alone(), pytest.raises(AlreadyRefreshing, match=said):
        RefreshFolder(tmp_path, "a").alone().__enter__()
    with RefreshFolder(tmp_path, "a").alone():
        pass


def test_one_refresh_of_a_task_also_where_each_keeps_a_folder_of_its_own(tmp_path: Path) -> None:
    lock = lock_path(Settings(artifacts=str(tmp_path / "artifacts")), "a")
    one, two = (RefreshFolder(tmp_path / name, "a", lock=lock) for name in ("one", "two"))
    with one.alone(), pytest.raises(AlreadyRefreshing):
        two.alone().__enter__()
    with two.alone():
        pass


def test_a_folder_that_cannot_be_used_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_ARTIFACTS", str(tmp_path / "artifacts"))
    (tmp_path / "refresh" / "default.lock").mkdir(parents=True)
    assert main(["refresh"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("millrace: ")
    assert str(tmp_path / "refresh" / "default.lock") in said


def test_a_user_without_a_name_can_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")  # as of Python 3.11, in a container with a number for a user

    monkeypatch.setattr("getpass.getuser", nobody)
    with RefreshFolder(tmp_path, "a").alone(), pytest.raises(AlreadyRefreshing, match="of uid "):
        RefreshFolder(tmp_path, "a").alone().__enter__()


def test_a_plan_whose_data_the_log_does_not_give_any_more_is_not_taken_up() -> None:
    taught = [Taught(seq, f"e{seq}", LabelledText(f"text {seq}", "a" if seq < 5 else "b", 1.0, seq)) for seq in range(1, 9)]
    labels, window = LogLabels("default", 1, 8, taught), Window()
    known = from_log(labels, 6, window).spec.fingerprint
    taken = given_again(labels, 6, known, window)
    assert taken is not None
    assert len(taken.rows) == 6
    assert given_again(labels, 6, "another", window) is None, "other data"
    assert given_again(labels, 3, known, window) is None, "one class only: a refresh that begins anew may have more"
    assert given_again(labels, 8, known, window) is None, "nothing left for the gate"


def test_an_answer_about_another_line_is_not_taken_for_this_one_s() -> None:
    answered = msgspec.structs.replace(release(7, "r5-a", time_ms=1, mode="shadow"), command_id="c")
    assert answer_to("c", "r5-a", [answered]) is answered
    assert answer_to("d", "r5-a", [answered]) is None
    with pytest.raises(RefreshError, match=r"r5-a.*trained again it came to r5-b"):
        answer_to("c", "r5-b", [answered])


def test_a_lock_says_who_holds_it_and_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert FileLock(path).holder() is None
    hold = f"lock = FileLock(Path({str(path)!r})); lock.acquire('me'); print(1, flush=True); input()"
    hold = f"from pathlib import Path; from store.file_lock import FileLock; {hold}"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert FileLock(path).holder() == "me"
        with pytest.raises(LockHeld, match="held by me"):
            FileLock(path).acquire("you")
        process.kill()
    assert FileLock(path).holder() is None
    lock = FileLock(path)
    lock.acquire("you")
    assert FileLock(path).holder() == "you"
    lock.release()


def test_where_refreshes_lie() -> None:
    assert refresh_root(Settings(artifacts="/data/artifacts"), RefreshSettings()) == Path("/data/refresh")
    assert refresh_root(Settings(), RefreshSettings(folder="/elsewhere")) == Path("/elsewhere")


def test_a_stage_that_says_nothing_is_heard_of_every_two_seconds() -> None:
    said: list[str] = []
    stages = Stages("a", said.append)
    with stages.stage("answer", "waiting"):
        time.sleep(2.8)
    assert [line.split("  a  ")[1] for line in said if "so far" in line] == ["answer: going on, 2 s so far"]
    with pytest.raises(DataError), stages.stage("log", "reading"):
        raise DataError("none")
    assert [thread.name for thread in threading.enumerate() if thread.name == "stage"] == []


def test_stages_are_told_with_their_times() -> None:
    said: list[str] = []
    stages = Stages("default", said.append)
    with stages.stage("log", "reading"):
        stages.detail("too soon to be said")
    with pytest.raises(DataError), stages.stage("gate", "comparing"):
        raise DataError("no")
    assert said[0].endswith("log: reading")
    assert [one.name for one in stages.done] == ["log"], "a stage that failed is not done"
    assert len(said) == 3


@pytest.mark.parametrize("wrong", [["--drill", "explode"], ["--drill", "wait-at=nowhere"], ["--mode", "replace"], ["--variant", "int4"]])
def test_flags_that_are_wrong_are_refused_before_torch_is_loaded(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        millrace(["refresh", *wrong])
    assert caught.value.code == 2


def test_every_stage_is_documented_in_its_order() -> None:
    page = (Path(__file__).parents[2] / "docs" / "refresh.md").read_text(encoding="utf-8")
    places = [page.index(f"\n| `{stage}` |") for stage in STAGES]
    assert places == sorted(places)


def test_without_torch_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(refresh_command, "missing_packages", functools.partial(refresh_command.missing_packages, ("sys", "no_such_module")))
    assert millrace(["refresh", "--train", "x.jsonl"]) == 2
    assert "no_such_module not installed: run `make setup-refresh`" in capsys.readouterr().err


def test_what_is_wrong_with_the_settings_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text("{}\n{}\n")
    monkeypatch.setenv("MILLRACE_QUALITY_WINDOW", "0")
    monkeypatch.setenv("MILLRACE_MODEL", "river:no.Such")
    assert main(["refresh", "--cases", str(cases), "--seed", "-1"]) == 2
    err = capsys.readouterr().err
    assert "MILLRACE_QUALITY_WINDOW" in err
    assert "MILLRACE_REFRESH_SEED" in err


def test_other_models_than_the_own_engine_are_not_refreshed() -> None:
    assert specification_of(Settings(model_memory_mib=4)) == "softmax?memory_mib=4"
    assert specification_of(Settings(model="softmax?balance=1", model_memory_mib=4)) == "softmax?balance=1&memory_mib=4"
    assert specification_of(Settings(model="softmax?memory_mib=2")) == "softmax?memory_mib=2"
    with pytest.raises(DataError, match="trains the own engine"):
        specification_of(Settings(model="river:naive_bayes.MultinomialNB"))


def test_parameters_are_flat() -> None:
    assert flat({"a": {"b": {"c": None}}, "d": [0.5, 1]}) == {"a.b.c": None, "d": "0.5,1"}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": row.text, "label": row.label, "split": "train" if n < 300 else "test"}
        for n, row in enumerate(islice(generate(2000, seed=4), 400))
    ]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows) + b"no json\n")
    return path


def test_offline_it_writes_figures_and_a_model_that_needs_no_torch(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_MODEL_MEMORY_MIB", "1")
    report, model = tmp_path / "out" / "figures.json", tmp_path / "model.safetensors"
    assert main(["refresh", "--train", str(labelled), "--report", str(report), "--model-out", str(model), "--json", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(report.read_text())
    assert found == json.loads(out)
    assert found["test"].keys() >= {"accuracy", "macro_f1", "log_loss"}
    assert found["test"]["accuracy"] > 0.8
    assert found["test_labels"] == 100
    assert found["data"]["rows"] == 300
    assert 0 <= found["fold_max_abs_diff"] <= 1e-4
    assert found["train_seconds"] > 0 < found["rows_per_second"]
    assert "line 401: not JSON" in err
    replica = Replica.from_snapshot(model.read_bytes())
    assert replica.line == found["line"]
    assert millrace(["test", str(labelled), "--model", str(model), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert {name: scores[name] for name in ("accuracy", "macro_f1", "log_loss")} == {
        name: found["test"][name] for name in ("accuracy", "macro_f1", "log_loss")
    }


def test_offline_it_never_writes_over_what_it_trains_on(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = labelled.read_bytes()
    assert main(["refresh", "--train", str(labelled), "--report", str(labelled)]) == 2
    assert "is the file that is trained on" in capsys.readouterr().err
    assert labelled.read_bytes() == before
    assert main(["refresh", "--report", str(labelled)]) == 2
    assert labelled.read_bytes() == before
    assert main(["refresh", "--train", str(labelled.with_name("none.jsonl"))]) == 2
