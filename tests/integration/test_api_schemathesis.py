"""Schemathesis against the OpenAPI description, with all checks: no server error, and nothing that the description does not say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest

from schemas.settings import Settings
from stack.process import Part
from tests.integration.played_jobs import Jobs, playing
from tests.integration.played_learner import PlayedLearner, label, manifest, release, store, when_read

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = "3"
"""Of each route beyond those of the phases `examples` and `coverage`, which are always the same."""


def test_nothing_but_what_is_described(
    redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path, serve: Callable[[Settings], AbstractContextManager[httpx.Client]]
) -> None:
    settings = Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), artifacts=str(tmp_path)
    )
    store(settings, manifest("r3-a1b2c3"))
    learners = [PlayedLearner(settings, task) for task in settings.tasks]
    for learner in learners:
        learner.write(label(1, task=learner.task), release(2, "r1-a", time_ms=1000, task=learner.task), label(3, task=learner.task))
    with ExitStack() as stack:
        api = stack.enter_context(serve(settings))
        for learner in learners:
            stack.enter_context(learner.answering())
        stack.enter_context(playing(Jobs(settings)))
        when_read(api, "/v1/models")
        program = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run"]
        flags = ["--checks", "all", "--max-examples", EXAMPLES, "--workers", "1", "--continue-on-failure"]
        result = subprocess.run(
            [*program, f"{api.base_url}/openapi.json", *flags], capture_output=True, text=True, check=False, cwd=tmp_path
        )  # fmt: skip
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
