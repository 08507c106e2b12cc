"""What all tests share: the order (cheap tests first), and Hypothesis without randomness in CI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ORDER = ("unit", "contract", "flink", "integration", "e2e", "faults", "containers")
"""The folders of the tests, in the order in which they run; doctests come before all."""

# Two shared cores: a deadline for each example would measure the neighbours. CI repeats the same examples.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the campaign of faults be chosen; without anything said, a few of them run."""
    group = parser.getgroup("faults")
    group.addoption("--faults", default="short", metavar="WHICH", help="short, all, or a regular expression for names (default: short)")
    group.addoption("--fault-runs", default=1, type=int, metavar="N", help="how often each (default: 1)")
    group.addoption("--fault-results", metavar="FILE", help="add results to this file (JSON Lines); the table is written beside it")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the container stack to `make test-containers`: it needs a Docker engine and half an hour."""
    named = any("tests/containers" in argument for argument in config.args)
    return True if collection_path == Path(__file__).parent / "containers" and not named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what fails fast first."""
    items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    parts = path.relative_to(Path(__file__).parent).parts if path.is_relative_to(Path(__file__).parent) else ()
    return ORDER.index(parts[0]) + 1 if parts and parts[0] in ORDER else 0
