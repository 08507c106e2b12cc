"""Schemathesis against the OpenAPI description, with all checks: no server error, and nothing that the description does not say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest
import redis

from online_model.replica import Replica
from schemas.settings import Settings
from stack.process import Part
from store.artifacts import ArtifactFolder
from store.releases import ReleaseFolder
from store.writer import RedisWriter
from tests.integration.played_learner import MEMORY_MIB, PlayedLearner, label, manifest, when_read
from tests.integration.test_api_reading import encode_all, prediction

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = "2"
"""Of each route beyond those of the phases `examples` and `coverage`, which are always the same."""


def test_nothing_but_what_is_described(
    redis_part: Part,
    redis_client: redis.Redis,
    kafka: str,
    topic_prefix: str,
    tmp_path: Path,
    serve: Callable[[Settings], AbstractContextManager[httpx.Client]],
) -> None:
    settings = Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, tasks=("default", "mood"), artifacts=str(tmp_path),
        model_memory_mib=MEMORY_MIB,
    )  # fmt: skip
    writer = RedisWriter(redis_client, recent=100, topic_prefix=topic_prefix)
    writer.write_predictions(encode_all([prediction("ticket-1", 1), *(prediction(f"e{n}", n) for n in range(20))]))
    ReleaseFolder(ArtifactFolder(settings.artifacts)).put(manifest("r3-a1b2c3"), Replica("default", memory_mib=MEMORY_MIB).snapshot())
    learners = [PlayedLearner(settings, task) for task in settings.tasks]
    with ExitStack() as stack:
        api = stack.enter_context(serve(settings))
        for learner in learners:
            learner.write(label(1, task=learner.task), label(2, task=learner.task))
            stack.enter_context(learner.answering())
        for task in settings.tasks:
            when_read(api, "/v1/models", task=task)
            when_read(api, "/v1/classes", task=task)
        program = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION), "run"]
        flags = ["--checks", "all", "--max-examples", EXAMPLES, "--workers", "1", "--continue-on-failure", "--request-timeout", "70"]
        result = subprocess.run(
            [*program, f"{api.base_url}/openapi.json", *flags], capture_output=True, text=True, check=False, cwd=tmp_path
        )  # fmt: skip
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
