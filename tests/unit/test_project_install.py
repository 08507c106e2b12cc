"""The locks, the Makefile and the entry of CI say the same as the code."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ["base.lock", "requirements.lock", "dev.lock", "build.lock", "refresh.lock"]
GROUPS = {
    "base.lock": PROJECT["project"]["dependencies"],
    "requirements.lock": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["stack"],
    "dev.lock": PROJECT["dependency-groups"]["dev"],
    "build.lock": PROJECT["dependency-groups"]["build"],
    "refresh.lock": PROJECT["dependency-groups"]["refresh"],
}
# An environment of its own: it need not agree with the others, and no code imports from it.
APART = {"scan.lock": PROJECT["dependency-groups"]["scan"]}
OURS = {"api", "batch_model", "benchmarks", "client", "online_model", "schemas", "stack", "store", "stream", "tests"}
MAKE_TARGETS = {"setup", "setup-refresh", "demo", "test", "check", "bench", "clean", "lock", "help"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, set[str]]:
    """The versions that a lock pins, by name: more than one where platforms differ."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE):
        found.setdefault(canonical(name), set()).add(version)
    return found


def names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in requirements}


@pytest.mark.parametrize("lock", [*LOCKS, *APART])
def test_every_line_of_a_lock_is_a_pin_with_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    logical = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert logical
    for line in logical:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+", line), line
    assert "://" not in text


@pytest.mark.parametrize("lock", [*LOCKS, *APART])
def test_a_lock_holds_what_the_project_asks_for(lock: str) -> None:
    pinned = pins(lock)
    assert names((GROUPS | APART)[lock]) <= set(pinned)
    for requirement in (GROUPS | APART)[lock]:
        name, _, version = requirement.partition("==")
        assert not version or pinned[canonical(name.partition("[")[0])] == {version}


def test_the_locks_agree_with_each_other() -> None:
    runtime = pins("requirements.lock")
    for lock in LOCKS:
        for name, versions in pins(lock).items():
            assert versions <= runtime.get(name, versions), f"{name} differs between {lock} and requirements.lock: run `make lock`"


def test_torch_is_in_no_lock_of_the_stack() -> None:
    assert not any("torch" in pins(lock) for lock in [*LOCKS, *APART] if lock != "refresh.lock")


@pytest.mark.parametrize(
    ("packages", "groups"),
    [
        (OURS - {"batch_model", "benchmarks", "tests"}, ["requirements.lock"]),
        # What is in the images that have no Flink.
        ({"api", "client", "online_model", "schemas", "store"}, ["base.lock"]),
        ({"batch_model"}, ["base.lock", "refresh.lock"]),
        ({"benchmarks", "tests"}, LOCKS),
    ],
)
def test_everything_that_is_imported_is_a_declared_dependency(packages: set[str], groups: list[str]) -> None:
    declared = set().union(*(names(GROUPS[group]) for group in groups))
    provided = {module for module, owners in packages_distributions().items() if {canonical(owner) for owner in owners} & declared}
    # Flink's package brings these two as parts of itself: the tables of its Python API and its bridge to Java.
    allowed = provided | OURS | sys.stdlib_module_names | {"pandas", "py4j"}
    for package in sorted(packages):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = (
                    [a.name for a in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                assert {module.partition(".")[0] for module in modules} <= allowed, f"{path.relative_to(ROOT)} imports {modules}"


WITHOUT_TORCH = """
import sys
for name in ("mlflow", "optuna", "tensorboard", "torch"):
    sys.modules[name] = None
import {module}
"""


@pytest.mark.parametrize("module", ["api.app", "stack.cli", "stream.jobs", "stream.submit"])
def test_jobs_api_and_command_line_are_imported_where_torch_is_not_installed(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(module=module)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_targets_of_the_makefile_exist_and_are_listed_by_help_and_in_contributing() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT), "--no-print-directory", "help"], capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make ([\w-]+) ", shown, flags=re.MULTILINE))
    assert targets >= MAKE_TARGETS
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {target for target in targets if f"`make {target}`" not in contributing} == set()


def test_ci_runs_what_a_developer_runs_and_nothing_weaker() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert "exec make test </dev/null" in text
    recipe = subprocess.run(
        ["make", "-C", str(ROOT), "--no-print-directory", "-n", "test"], capture_output=True, text=True, check=True
    ).stdout
    for step in ("ruff format --check", "ruff check", "mypy", "lint-imports", "-m pytest"):
        assert step in recipe
    assert PROJECT["tool"]["pytest"]["ini_options"]["testpaths"] == [
        "schemas",
        "online_model",
        "store",
        "api",
        "batch_model",
        "client",
        "stream",
        "stack",
        "tests",
    ]


def test_without_python_3_11_setup_says_what_to_do(tmp_path: Path) -> None:
    for name in ["Makefile", "pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, tmp_path)
    ended = subprocess.run(["make", "setup", "PYTHON=no-such-python"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "Python 3.11" in ended.stderr
    assert "PYTHON=/path/to/python3.11" in ended.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_command_is_declared_and_the_version_is_in_the_changelog() -> None:
    assert PROJECT["project"]["scripts"] == {"millrace": "stack.cli:main"}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog
