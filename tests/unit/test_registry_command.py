"""`millrace registry`: where it looks when no stack runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.registry_command import environment_of

pytestmark = pytest.mark.unit


def test_a_stack_that_does_not_run_has_its_registry_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_ARTIFACTS", "/elsewhere")
    assert environment_of(tmp_path) == {"MILLRACE_ARTIFACTS": str(tmp_path / "artifacts")}


def test_without_a_folder_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MILLRACE_ARTIFACTS", "/elsewhere")
    assert environment_of(None) == {}
    monkeypatch.delenv("MILLRACE_ARTIFACTS")
    assert environment_of(None) == {"MILLRACE_ARTIFACTS": str(tmp_path / "artifacts")}
