"""A refresh from a real log: what it reads, when it releases, what the learner is asked, and that it may be killed at any stage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from batch_model import refresh as refresh_module
from batch_model.__main__ import main
from batch_model.data import DataError, Window, fingerprint
from batch_model.flags import STAGES
from batch_model.log_data import DataGone, from_log, read_labels, rebuild
from batch_model.rows import LabelledText
from online_model.replica import Replica
from schemas.log import Command, LabelEntry, ReleaseEntry
from schemas.parsing import parse_command
from schemas.records import FeedbackRef, Position
from schemas.refresh_settings import RefreshSettings, refresh_environment
from schemas.settings import Settings, as_environment
from schemas.topics import MODEL_LOG_PARTITIONS, Topic
from stack.generator import generate
from store.artifacts import ArtifactFolder
from store.committed import read_committed
from store.file_lock import FileLock
from store.lines import build_line
from store.model_history import ModelHistory
from store.model_log import ModelLogReader, partition_of
from store.releases import ReleaseFolder
from tests.integration.played_learner import PlayedLearner

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WRONG = 175
LABELS = 500
HELD_OUT = 150


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path / "artifacts"), model_memory_mib=1)


@pytest.fixture
def learner(settings: Settings, request: pytest.FixtureRequest) -> Iterator[PlayedLearner]:
    """A learner that has learned the generated stream, and answers; so many of its first labels were wrong."""
    learner = PlayedLearner(settings)
    learner.write(*labels(LABELS, wrong=getattr(request, "param", WRONG)))
    with learner.answering():
        yield learner


@pytest.fixture
def environment(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings, also in this process."""
    refresh = RefreshSettings(
        folder=str(tmp_path / "refresh"), gate_least_labels=HELD_OUT,
        registry="none", device="cpu", answer_timeout_s=60,
    )  # fmt: skip
    variables = as_environment(settings) | refresh_environment(refresh)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def labels(count: int, first: int = 1, wrong: int = WRONG) -> list[LabelEntry]:
    """Entries of the log: the first `wrong` labels are wrong, the next ones correct them, and those after that are right at once.

    The champion has learned all of them; what is trained on holds only what stands.
    """
    rows = list(generate(4 * LABELS, seed=5))
    names = sorted({str(row.label) for row in rows})
    entries = []
    for seq in range(first, first + count):
        place = seq - wrong if seq > wrong else seq
        right = str(rows[place].label)
        other = names[(names.index(right) + 1) % len(names)]
        entries.append(
            LabelEntry(
                seq=seq, task="default", time=1_700_000_000_000 + seq, event_id=f"e{place}", text=rows[place].text, meta={},
                label=other if seq <= wrong else right, weight=20.0 if seq <= wrong else 1.0,
                feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
                corrects=other if wrong < seq <= 2 * wrong else None,
            )
        )  # fmt: skip
    return entries


def run(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["refresh", "--json", "--by", "ann", *flags])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def commands(settings: Settings) -> list[Command]:
    topic = settings.topic_prefix + Topic.MODEL_COMMANDS
    return [parse_command(record.value, tasks=settings.tasks) for batch in read_committed(settings.kafka, topic) for record in batch]


def history(settings: Settings) -> ModelHistory:
    return ModelHistory.read(reader(settings), "default")


def reader(settings: Settings) -> ModelLogReader:
    return ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)


def test_a_better_candidate_is_released_from_the_log_and_its_data_can_be_had_again(
    settings: Settings, learner: PlayedLearner, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, dry = run(capsys, "--dry-run")
    assert (code, dry["verdict"]) == (0, "dry run"), dry
    assert commands(settings) == []
    assert ReleaseFolder(ArtifactFolder(settings.artifacts)).list("default") == []

    code, result = run(capsys, "--why", "to see")
    assert (code, result["verdict"]) == (0, "released"), result
    assert {**result, "verdict": 0, "report": 0, "seconds": 0} == {**dry, "verdict": 0, "report": 0, "seconds": 0}, (
        "the same data, the same model"
    )
    assert result["cut_seq"] == LABELS - HELD_OUT
    assert result["challenger_accuracy"] > result["champion_accuracy"]
    (command,) = commands(settings)
    assert (command.do, command.line, command.against, command.by) == ("serve", result["line"], "base", "ann")
    assert command.why.startswith("to see ")
    entry = history(settings).answer_to(command.command_id)
    assert isinstance(entry, ReleaseEntry)
    assert entry.data == result["data"]

    manifest = ReleaseFolder(ArtifactFolder(settings.artifacts)).get("default", result["line"])
    assert manifest.gate is not None
    assert (manifest.gate.labels, manifest.origin.cut_seq, manifest.parent) == (HELD_OUT, LABELS - HELD_OUT, "base")
    rows = [LabelledText(one.text, one.label, 1.0, one.time) for one in labels(LABELS - HELD_OUT)[WRONG:]]
    assert manifest.data.fingerprint == fingerprint(rows)
    new = Replica.configured(settings, "default")
    model = build_line(reader(settings), ArtifactFolder(settings.artifacts), manifest.line, manifest.origin, new=new, up_to_seq=LABELS)
    assert model.specification == new.model.specification
    report = Path(result["report"])
    assert "<html" in report.read_text()
    assert not (tmp_path / "refresh" / "unfinished" / "default").exists()

    output = tmp_path / "rows.jsonl"
    assert main(["data", "--line", result["line"], "--output", str(output)]) == 0
    assert "the same rows again" in capsys.readouterr().out
    assert len(output.read_bytes().splitlines()) == LABELS - HELD_OUT - WRONG

    code, _ = run(capsys)
    assert code in {0, 1}, "a second one has the release for its champion"
    learner.write(*labels(60, first=LABELS + 2))
    code, second = run(capsys, "--dry-run")
    assert second["champion"] == result["line"]


@pytest.mark.parametrize("learner", [0], indirect=True)
def test_shuffled_labels_are_refused_by_the_gate_and_can_be_forced(
    settings: Settings, learner: PlayedLearner, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, kept = run(capsys, "--drill", "shuffle-labels")
    assert (code, kept["verdict"], kept["passed"]) == (1, "kept", False)
    assert kept["challenger_accuracy"] < kept["champion_accuracy"]
    assert kept["reasons"]
    assert commands(settings) == []
    assert history(settings).champion == "base"

    code, forced = run(capsys, "--drill", "shuffle-labels", "--force", "--mode", "shadow")
    assert (code, forced["verdict"], forced["passed"]) == (0, "shadow", False)
    assert forced["reasons"][0] == "Forced by ann although the gate said no."
    (command,) = commands(settings)
    assert command.do == "shadow"
    assert command.why.startswith("forced by ann although the gate said no: ")
    assert command.metrics["passed"] == 0.0


def started(environment: dict[str, str], *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "batch_model", "refresh", "--json", *flags]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_at(stage: str, environment: dict[str, str]) -> list[str]:
    """Start a refresh, kill it at a stage, and return what it had said."""
    process = started(environment, "--drill", f"wait-at={stage}")
    said = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if "waiting to be killed" in line:
            break
    else:
        pytest.fail(f"it never came to stage {stage}: {said}")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return said


def test_a_refresh_that_is_killed_at_any_stage_changes_nothing_and_the_next_one_goes_on(
    settings: Settings, learner: PlayedLearner, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "refresh" / "unfinished" / "default" / "plan.json"
    plans = set()
    for stage in STAGES[: STAGES.index("answer")]:
        killed_at(stage, environment)
        assert commands(settings) == [], stage
        assert history(settings).changes == [], stage
        if plan.exists():
            plans.add(msgspec.json.decode(plan.read_bytes())["command_id"])
    assert len(plans) == 1, "each took up what the one before had begun"
    # Killed after the command was sent: the release stands, and the next refresh has it for its champion.
    killed_at("answer", environment)
    (command,) = commands(settings)
    assert command.command_id in plans
    learner.write(*labels(HELD_OUT, first=learner.replica.seq + 1))
    code, result = run(capsys)
    assert code in {0, 1}
    assert result["champion"] == command.line
    assert not plan.exists()


def test_one_refresh_of_a_task_at_a_time_and_a_killed_one_is_in_nobodys_way(
    learner: PlayedLearner, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = started(environment, "--drill", "wait-at=log")
    assert first.stderr is not None
    try:
        while "waiting to be killed" not in first.stderr.readline():
            pass
        assert main(["refresh"]) == 2
        assert f"being refreshed already, by process {first.pid} of " in capsys.readouterr().err
    finally:
        first.kill()
        first.communicate()
    assert main(["refresh", "--dry-run"]) in {0, 1}


def test_what_the_user_must_act_on_is_said_in_words(
    settings: Settings,
    learner: PlayedLearner,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = {"GATE_LEAST_LABELS": "400"}, {"MODE": "x", "SHARE": "7", "CASES": "/none/cases.jsonl"}
    said = []
    for variables in wrong:
        with monkeypatch.context() as changed:
            for name, value in variables.items():
                changed.setenv(f"MILLRACE_REFRESH_{name}", value)
            assert main(["refresh"]) == 2
            said.append(capsys.readouterr().err)
    assert "500 labels are too few for a refresh" in said[0]
    assert said[1].count("MILLRACE_REFRESH_") == 2
    assert main(["refresh", "--task", "other"]) == 2
    assert "task 'other' is not configured" in capsys.readouterr().err
    monkeypatch.setenv("MILLRACE_MODEL", "river:naive_bayes.MultinomialNB")
    assert main(["refresh"]) == 2
    assert "trains the own engine" in capsys.readouterr().err
    assert commands(settings) == []


def test_the_drill_exchanges_labels_and_nothing_else() -> None:
    rows = [LabelledText(f"text {n}", "abc"[n % 3]) for n in range(30)]
    shuffled = refresh_module.shuffled(rows, 0)
    assert [row.text for row in shuffled] == [row.text for row in rows]
    assert sorted(row.label for row in shuffled) == sorted(row.label for row in rows)
    assert [row.label for row in shuffled] != [row.label for row in rows]


def test_data_comes_back_from_the_log_or_it_is_said_that_retention_has_passed(settings: Settings) -> None:
    writer = PlayedLearner(settings)
    with closing(writer.producer):
        writer.write(*labels(60, wrong=10))
    log = read_labels(reader(settings), "default", up_to_seq=50)
    whole, windowed = from_log(log, 50, Window()), from_log(log, 50, Window(labels=10))
    assert (log.first_seq, log.last_seq, whole.spec.rows, windowed.spec.rows) == (1, 50, 40, 10)
    assert rebuild(reader(settings), "default", whole.spec) == whole.rows
    other = msgspec.structs.replace(whole.spec, fingerprint="0" * 64)
    with pytest.raises(DataError, match="the log gives other rows"):
        rebuild(reader(settings), "default", other)
    with pytest.raises(DataError, match=r"from the file x\.jsonl"):
        rebuild(reader(settings), "default", msgspec.structs.replace(whole.spec, source="x.jsonl"))

    topic = settings.topic_prefix + Topic.MODEL_LOG
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka)) as admin:
        admin.delete_records({TopicPartition(topic, partition_of("default", MODEL_LOG_PARTITIONS)): 30})
    with pytest.raises(DataGone, match="began with entry 1 of the log, which now begins with entry 31"):
        rebuild(reader(settings), "default", whole.spec)
    assert rebuild(reader(settings), "default", windowed.spec) == windowed.rows, "what is left is all that went in"


def test_a_signal_to_the_command_ends_the_program(environment: dict[str, str], learner: PlayedLearner, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stack", "refresh", "--drill", "wait-at=log"]
    variables = {**os.environ, **environment, "MILLRACE_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "waiting to be killed" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        assert FileLock(tmp_path / "refresh" / "default.lock").holder() is not None
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert FileLock(tmp_path / "refresh" / "default.lock").holder() is None
