"""What is checked before the containers start, and the keys that are made."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from api.access.key_file import read_key_file
from schemas.reference import environment_example
from stack import health
from stack.cli import main
from stack.errors import ConfigurationErrors
from stack.prepare_command import make_keys, problems_in, unknown
from stack.state import Addresses, Phase, StackState

pytestmark = pytest.mark.unit

NOW = 1_800_000_000_000


def test_all_that_is_wrong_in_any_part_is_said_at_once() -> None:
    wrong = {
        "MILLRACE_QUALITY_WINDOW": "none", "MILLRACE_API_ITEMS_PER_S": "-1", "MILLRACE_REFRESH_SHARE": "2", "MILLRACE_REFRESH_EVERY_S": "x",
        "MILLRACE_TASKMANAGERS": "0",
        "MILLRACE_MODEL": "river:nothing.Here", "MILLRACE_KAFKA_SASL_MECHANISM": "PLAIN", "MILLRACE_TASK": "a",
    }  # fmt: skip
    said = "\n".join(problems_in(wrong))
    assert all(name in said for name in wrong if name not in ("MILLRACE_MODEL", "MILLRACE_KAFKA_SASL_MECHANISM")), said
    assert "river:nothing.Here" in said
    assert "MILLRACE_KAFKA" in said


def test_the_example_holds_nothing_wrong_and_nothing_unknown() -> None:
    lines = [line[1:] for line in environment_example().splitlines() if line.startswith("#MILLRACE_")]
    environment = dict(line.split("=", 1) for line in lines)
    assert unknown(environment) == []
    # A login needs its protocol; what is empty in the example is not set.
    assert problems_in({name: value for name, value in environment.items() if value and not name.startswith("MILLRACE_KAFKA_")}) == []


def test_keys_are_made_once_and_only_their_owner_reads_those_of_people(tmp_path: Path) -> None:
    made = make_keys(tmp_path / "keys", tmp_path / "shown", now=NOW)
    assert [Path(path).name for path in made] == ["admin.key", "metrics.key"]
    content = read_key_file(tmp_path / "keys" / "keys.json")
    assert {key.name: key.roles for key in content.keys} == {"admin": ("admin",), "metrics": ("read",)}
    assert stat.S_IMODE((tmp_path / "shown" / "admin.key").stat().st_mode) == 0o600
    assert make_keys(tmp_path / "keys", tmp_path / "shown", now=NOW) == []
    assert read_key_file(tmp_path / "keys" / "keys.json") == content


def test_keys_that_cannot_be_written_say_why(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(ConfigurationErrors, match="cannot be made"):
        make_keys(tmp_path / "keys", tmp_path / "shown", now=NOW)


def test_the_command_says_what_it_made_and_shows_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MILLRACE_TASK", raising=False)
    assert main(["prepare", "--keys", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "in order" in said
    assert (tmp_path / "admin.key").read_text() not in said
    monkeypatch.setenv("MILLRACE_TASK", "a")
    assert main(["prepare", "--keys", str(tmp_path)]) == 2
    assert "did you mean MILLRACE_TASKS?" in capsys.readouterr().err


def test_a_stack_that_does_not_run_is_not_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main([str(tmp_path)]) == 1
    assert "no supervisor runs" in capsys.readouterr().out
    (tmp_path / "run").mkdir()
    state = StackState(
        phase=Phase.RUNNING, pid=1, process_started=0.0, since=0.0, data_dir="", settings={},
        addresses=Addresses(kafka="", redis="", flink_rest="", api=""),
    )  # fmt: skip
    (tmp_path / "run" / "state.json").write_text(
        json.dumps(
            {
                "phase": state.phase,
                **{k: getattr(state, k) for k in ("pid", "process_started", "since", "data_dir", "settings")},
                "addresses": {"kafka": "", "redis": "", "flink_rest": "", "api": ""},
            }
        )
    )
    assert health.main([str(tmp_path)]) == 1, "another process has its number now"
