"""What a failure says about the stack that it happened on."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

from stack.embedded import Stack
from stack.process import tail_lines
from stack.state import read_state
from stack.status_view import status_lines

LINES = 15


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the stack's state, and the last lines of its logs, to the report of a test that failed."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("the stack", "\n".join(described(stack))))
    return report


def described(stack: Stack) -> list[str]:
    """Return the state and the ends of the logs, as far as they are there."""
    state = read_state(stack.folder.state)
    lines = status_lines(state, now=time.time()) if state else ["no state"]
    lines.append(f"its supervisor {'runs' if stack.running() else 'does not run'}")
    for name in ("supervisor", "jobmanager", "taskmanager", "kafka", "api"):
        lines += [f"--- {name}", *(line[:300] for line in tail_lines(stack.folder.log(name))[-LINES:])]
    return lines
