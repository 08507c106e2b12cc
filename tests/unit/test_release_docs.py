"""What docs/releases.md says is all there is: routes, commands, metrics, alerts, settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from api.app import create_app
from batch_model.triggers import AlertKind
from batch_model.worker_metrics import NAMES
from schemas.settings import Settings
from schemas.worker_settings import WorkerSettings
from stack.cli import _parser, main
from store.standing import Place

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "releases.md").read_text(encoding="utf-8")


def test_routes() -> None:
    paths = {path for path in create_app(Settings()).openapi()["paths"] if path.startswith("/v1/models")}
    short = {f"/v1/models/{{line}}/{name}" for name in re.findall(r"`/(\w+)`", PAGE)}
    assert paths == set(re.findall(r"`(?:GET|POST) (/v1/models[^`?]*)", PAGE)) | short


def test_metrics_and_alerts() -> None:
    assert set(re.findall(r"`(millrace_\w+)`", PAGE)) == set(NAMES)
    assert set(re.findall(r"^\| `(\w+)` \| (?:a|no) ", PAGE, flags=re.MULTILINE)) == set(get_args(AlertKind))


def test_settings() -> None:
    named = set(re.findall(r"`(?:MILLRACE_REFRESH_)?([A-Z_]+_[A-Z_]+|[A-Z]+_S)`", PAGE))
    assert {field.name.upper() for field in msgspec.structs.fields(WorkerSettings)} <= named


def test_states_of_a_line() -> None:
    assert set(re.findall(r"^\| (\w+) \| ", PAGE, flags=re.MULTILINE)) - {"route", "alert", "metric"} >= set(get_args(Place))


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "--help"])
    offered = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, flags=re.MULTILINE))
    assert offered == set(re.findall(r"^millrace models (\w+)", PAGE, flags=re.MULTILINE))


@pytest.mark.parametrize("page", ["releases.md", "refresh.md", "registry.md"])
def test_the_command_lines_of_the_pages_are_taken(page: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^millrace (.*?)(?:  | #|$)", block, flags=re.MULTILINE)]
    inline = re.findall(r"`millrace (models data LINE)`[^`]*`(--\w+ FILE)`", text)
    assert lines
    for line in [*lines, *map(" ".join, inline)]:
        _parser().parse_args(shlex.split(line.replace("LINE", "r4200-1a2b3c4d")))
