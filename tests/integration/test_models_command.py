"""`millrace models` on a real log, with a learner that answers by the real rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import httpx
import pytest
import redis

from schemas.records import ModelVersion, Quality, Trial
from schemas.settings import Settings, as_environment
from stack.cli import main
from stack.model_api import ModelApi, NoApi, NoLine
from stack.model_lines import ModelLines
from stack.ports import free_ports
from stack.process import Part
from store.writer import RedisWriter
from tests.integration.played_learner import SCORES, PlayedLearner, label, manifest, release, store, when_read

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), artifacts=str(tmp_path)
    )
    for name, value in as_environment(found).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("LOGNAME", "ann")
    return found


@pytest.fixture
def learner(settings: Settings) -> Iterator[PlayedLearner]:
    learner = PlayedLearner(settings)
    with learner.answering():
        yield learner


def test_what_there_is(settings: Settings, learner: PlayedLearner, redis_client: redis.Redis, capsys: pytest.CaptureFixture[str]) -> None:
    store(settings, manifest("r1-a"))
    store(settings, manifest("r2-b", passed=False))
    shadow = release(3, "r3-c", mode="shadow", time_ms=1_700_000_100_000)
    learner.write(label(1), release(2, "r1-a", time_ms=1_700_000_000_000), shadow, label(4))
    trial = Trial(line="r3-c", role="shadow", champion="r1-a", since_seq=3, labels=100, line_correct=80, champion_correct=75)
    quality = Quality(
        task="default", time=1, model=ModelVersion(line="r1-a", seq=4), model_time=1, overall=SCORES, window=SCORES, window_size=10,
        trials=[trial],
    )  # fmt: skip
    RedisWriter(redis_client, recent=10, topic_prefix=settings.topic_prefix).write_quality(quality)

    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "task default, log at entry 4"
    assert [line.split()[:2] for line in lines[3:7]] == [["r1-a", "serving"], ["r3-c", "shadow"], ["base", "former"], ["r2-b", "stored,"]]
    assert "2023-11-14 22:13" in lines[3]
    assert "r3-c (shadow since entry 3): 80.0 % of 100 labels right, r1-a 75.0 %" in lines[-1]

    assert main(["models", "list", "--json", "--task", "mood"]) == 0
    assert json.loads(capsys.readouterr().out)["serving"] == "base"

    assert main(["models", "show", "r1-a"]) == 0
    shown = capsys.readouterr().out
    assert "gate: passed, 100 labels, p = 0.01" in shown
    assert "entry 2        r1-a released, serves, by ann: better" in shown
    assert main(["models", "show", "r9-z"]) == 2
    assert "has no line 'r9-z'" in capsys.readouterr().err

    assert main(["models", "at", "2023-11-14T22:13:19"]) == 0
    assert capsys.readouterr().out == "base served at 2023-11-14 22:13:19.000Z, from the beginning\n"
    assert main(["models", "at", "1700000000000"]) == 0
    assert capsys.readouterr().out.startswith("r1-a served at 2023-11-14 22:13:20.000Z, since 2023-11-14 22:13:20.000Z\n")


def test_what_is_asked(settings: Settings, learner: PlayedLearner, capsys: pytest.CaptureFixture[str]) -> None:
    store(settings, manifest("r1-a"))
    learner.write(label(1))
    assert main(["models", "shadow", "r1-a", "--why", "a look\x1b[31m"]) == 0
    assert "r1-a watched as a shadow, by ann: a look\\x1b[31m" in capsys.readouterr().out
    assert main(["models", "split", "r1-a", "--share", "0.25", "--by", "ben"]) == 0
    assert "r1-a serves 25.0% of the events, by ben" in capsys.readouterr().out
    assert main(["models", "promote", "r1-a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "promote"
    assert main(["models", "rollback"]) == 0
    assert "rolled back to base from r1-a" in capsys.readouterr().out
    assert main(["models", "drop", "r1-a"]) == 1
    assert "drop of r1-a refused, by ann: r1-a is not watched" in capsys.readouterr().out
    assert main(["models", "promote", "r9-z"]) == 2
    assert "models list" in capsys.readouterr().err


def test_nobody_answers(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "promote", "base", "--timeout", "2.5"]) == 1
    said = capsys.readouterr().err
    assert "waiting for the learner's answer" in said
    assert "`millrace status`" in said
    assert "`millrace models show base`" in said


def test_what_the_learner_would_not_answer_is_not_sent(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "promote", "base", "--why", "x" * 5000]) == 2
    assert "`$.why`" in capsys.readouterr().err
    assert main(["models", "promote", "base", "--by", "\udcff"]) == 2
    assert "cannot be sent" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["promote", "No.pe"], ["split", "base"], ["split", "base", "--share", "2"], ["at", "soon"], []])
def test_wrong_arguments(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["models", *wrong])
    assert ended.value.code == 2


def test_kafka_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path))
    assert main(["models", "list"]) == 2
    assert "MILLRACE_KAFKA" in capsys.readouterr().err
    assert main(["models", "list", "--data-dir", str(tmp_path)]) == 1


def test_the_api_of_a_running_stack_tells_the_same(
    settings: Settings, learner: PlayedLearner, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    store(settings, manifest("r1-a"))
    learner.write(label(1), release(2, "r1-a", time_ms=1_700_000_000_000))
    (away,) = free_ports(1)
    with serve(settings) as client:
        when_read(client, "/v1/models")
        api, none = ModelApi(str(client.base_url).rstrip("/"), "default"), ModelApi(f"http://127.0.0.1:{away}", "default")
        with closing(ModelLines(settings, "default")) as lines:
            assert api.view() == lines.view()
            assert api.detail("r1-a") == lines.detail("r1-a")
            assert api.at(1_700_000_000_000) == lines.at(1_700_000_000_000)
            for source in (api, lines):
                with pytest.raises(NoLine):
                    source.detail("r9-z")
    with pytest.raises(NoApi):
        none.view()
