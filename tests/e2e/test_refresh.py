"""A refresh on the whole embedded stack, while events flow: released, refused, forced and rolled back, killed. The state is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.log import RollbackEntry
from schemas.parsing import record_parser
from schemas.records import Prediction
from schemas.topics import Topic
from stack.audit import audit
from stack.embedded import Stack
from stack.generator import generate
from store.committed import end_offsets, read_committed
from store.labelled_files import Row
from store.model_history import ModelHistory
from store.model_log import ModelLogReader

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WRONG = 600
"""So many labels are imported wrong, with much weight, and then corrected: the champion learned both, a refresh learns what stands."""

EVENTS = 4_000
RATE = 200
FLAGS = {
    "MILLRACE_REFRESH_GATE_LEAST_LABELS": "150",
    "MILLRACE_REFRESH_GATE_SHARE": "0",
    "MILLRACE_REFRESH_GATE_CLASS_FALL": "0.5",
    "MILLRACE_REFRESH_REGISTRY": "none",
    "MILLRACE_REFRESH_ANSWER_TIMEOUT_S": "120",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    overrides = {"snapshot_interval_s": 5, "model_memory_mib": 2}
    stack = Stack(folder / "data", overrides, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
    stack.start(print)
    yield stack
    stack.stop(savepoint=False)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The generated stream, up to where its meaning changes."""
    return list(islice(generate(40_000, seed=2), 20_000))


def millrace(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stack", *arguments, "--data-dir", str(stack.folder.root)]
    return subprocess.Popen(command, env={**os.environ, **FLAGS}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refresh(stack: Stack, *flags: str) -> tuple[int, dict[str, Any]]:
    out, err = (process := millrace(stack, "refresh", "--json", "--by", "test", *flags)).communicate(timeout=300)
    assert out, err
    return process.returncode, json.loads(out)


def written(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def history(stack: Stack) -> ModelHistory:
    return ModelHistory.read(reader(stack), "default")


def reader(stack: Stack) -> ModelLogReader:
    return ModelLogReader(stack.settings.kafka, stack.settings.topic_prefix + Topic.MODEL_LOG)


def logged(stack: Stack) -> int:
    topic = stack.settings.topic_prefix + Topic.MODEL_LOG
    return sum(end_offsets(stack.settings.kafka, [topic])[topic].values())


def predictions(stack: Stack) -> list[Prediction]:
    """Every committed prediction, in the order of its partition."""
    batches = read_committed(stack.settings.kafka, stack.settings.topic_prefix + Topic.PREDICTIONS)
    return [parse(record.value) for batch in batches for record in batch if record.value]


parse = record_parser(Prediction)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s until {what}"
        time.sleep(0.2)


def flow(stack: Stack, rows: Sequence[Row], folder: Path, name: str) -> tuple[subprocess.Popen[str], Path]:
    """Send events with labels a second later; returns the sender and where its report will be."""
    path = written(folder / f"{name}.jsonl", [{"text": row.text, "label": row.label} for row in rows])
    report = folder / f"{name}.json"
    flags = ("--rate", str(RATE), "--label-delay-s", "1", "--label-fraction", "0.3", "--report", str(report))
    return millrace(stack, "replay", str(path), *flags), report


def check_exact(process: subprocess.Popen[str], report: Path) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found = json.loads(report.read_text())
    assert (found["predictions"], found["duplicate_predictions"], found["missing_predictions"]) == (found["events_sent"], 0, 0)
    assert sum(found["labels"].values()) == found["labels_sent"]
    assert found["model_log_gaps"] == []


def check_serves(stack: Stack, line: str, rows: Sequence[Row], folder: Path) -> None:
    """Send events until the line serves; a predictor that has just read of it may still be loading it."""
    for number in range(5):
        check_exact(*flow(stack, rows, folder, f"serves-{number}"))
        if max(predictions(stack), key=lambda one: one.predicted_at).model.line == line:
            return
    pytest.fail(f"{line} does not serve")


def test_a_refresh_releases_and_switches_while_events_flow(stack: Stack, rows: list[Row], tmp_path: Path) -> None:
    names = sorted({str(row.label) for row in rows})
    shifted = dict(zip(names, names[1:] + names[:1], strict=True))
    for name, weight in (("wrong", 20.0), ("right", 1.0)):
        said = [shifted[str(row.label)] if name == "wrong" else row.label for row in rows[:WRONG]]
        lines: list[dict[str, object]] = [
            {"text": row.text, "label": label, "weight": weight, "event_id": f"old-{n}"}
            for n, (row, label) in enumerate(zip(rows, said, strict=False))
        ]
        imported = millrace(stack, "import-labels", str(written(tmp_path / f"{name}.jsonl", lines)), "--source", name)
        _, err = imported.communicate(timeout=120)
        assert imported.returncode == 0, err
    before = logged(stack)
    sender, report = flow(stack, rows[WRONG : WRONG + EVENTS], tmp_path, "first")
    wait_until(lambda: logged(stack) > before + 300, "labels of the events are learned")
    code, result = refresh(stack)
    assert (code, result["verdict"], result["champion"]) == (0, "released", "base"), result
    check_exact(sender, report)
    check_serves(stack, result["line"], rows[-400:], tmp_path)
    served = [one.model for one in sorted(predictions(stack), key=lambda one: (one.source.partition, one.source.offset))]
    assert {model.line for model in served} == {"base", result["line"]}
    assert history(stack).champion == result["line"]
    assert audit(stack.settings, "default").differences == []


def test_a_bad_candidate_is_refused_and_when_forced_it_is_rolled_back(stack: Stack, rows: list[Row], tmp_path: Path) -> None:
    good = history(stack).champion
    code, kept = refresh(stack, "--drill", "shuffle-labels")
    assert (code, kept["verdict"], kept["champion"]) == (1, "kept", good), kept
    assert history(stack).champion == good
    code, forced = refresh(stack, "--drill", "shuffle-labels", "--force", "--why", "a drill")
    assert (code, forced["verdict"]) == (0, "released"), forced
    sender, report = flow(stack, rows[WRONG + EVENTS : WRONG + EVENTS + 2_000], tmp_path, "second")
    wait_until(lambda: history(stack).champion == good, "it is rolled back by itself", 180)
    check_exact(sender, report)
    (back,) = [change for change in history(stack).changes if isinstance(change, RollbackEntry)]
    assert (back.line, back.replaces, back.command_id) == (good, forced["line"], None)
    assert back.why
    check_serves(stack, good, rows[-400:], tmp_path)
    assert audit(stack.settings, "default").differences == []


def test_one_that_is_killed_after_its_command_leaves_one_of_the_two_models(stack: Stack, rows: list[Row], tmp_path: Path) -> None:
    before = history(stack)
    sender, report = flow(stack, rows[-1_000:], tmp_path, "third")
    _killed_at("answer", stack)
    wait_until(lambda: len(history(stack).changes) > len(before.changes), "the learner has answered it all the same")
    check_exact(sender, report)
    champion = history(stack).champion
    check_serves(stack, champion, rows[-400:], tmp_path)
    code, result = refresh(stack, "--dry-run")
    assert (code in {0, 1}, result["champion"]) == (True, champion)
    assert audit(stack.settings, "default").differences == []


def test_learner_and_predictors_killed_during_a_swap_come_back_with_one_of_the_two_models(
    stack: Stack, rows: list[Row], tmp_path: Path
) -> None:
    before = history(stack)
    target = next(known.line for known in before.lines() if known.origin.artifact and known.line != before.champion)
    sender, report = flow(stack, rows[-3_000:-1_000], tmp_path, "fourth")
    asked = millrace(stack, "models", "promote", target, "--by", "test", "--why", "a drill")
    topic = stack.settings.topic_prefix + Topic.MODEL_COMMANDS
    commands = end_offsets(stack.settings.kafka, [topic])[topic]
    wait_until(lambda: end_offsets(stack.settings.kafka, [topic])[topic] != commands or asked.poll() is not None, "it is asked for")
    first = stack.pids()["taskmanager"]
    os.kill(first, signal.SIGKILL)  # the learner builds the line
    wait_until(lambda: len(history(stack).changes) > len(before.changes), "the learner has answered all the same")
    # A learner that was quick has answered before it was killed: then the next TaskManager is not there yet.
    wait_until(lambda: stack.pids().get("taskmanager", first) != first, "its TaskManager has a successor")
    os.kill(stack.pids()["taskmanager"], signal.SIGKILL)  # the predictors build it
    out, err = asked.communicate(timeout=120)
    assert asked.returncode == 0, (out, err)
    check_exact(sender, report)
    answers = [change for change in history(stack).changes if change.command_id and change.why == "a drill" and change.line == target]
    assert len(answers) == 1
    check_serves(stack, history(stack).champion, rows[-400:], tmp_path)
    assert audit(stack.settings, "default").differences == []


def _killed_at(stage: str, stack: Stack) -> None:
    """Start a refresh that is sent on whatever its gate says, and kill it, and the command that started it, at a stage."""
    process = millrace(stack, "refresh", "--force", "--drill", f"wait-at={stage}")
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "waiting to be killed" in line:
            break
    else:
        pytest.fail(f"it never came to stage {stage}: {said}")
    pid = int(said[-1].rpartition("process ")[2])
    os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
