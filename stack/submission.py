"""One run of `python -m stream.submit`, watched without waiting for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stack.process import die_with_parent, tail_lines

TIMEOUT_S = 240.0
_BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m"
"""Of the client's JVM: it lives for seconds, and several start at once."""


@dataclass(frozen=True)
class Order:
    """What to submit: a job, where, with which state and environment."""

    job: str
    rest: str
    started_from: str | None
    checkpoints: Path
    logs: Path
    environment: Mapping[str, str]


class SubmissionProcess:
    """The running client."""

    def __init__(self, order: Order) -> None:
        self.order = order
        order.logs.mkdir(parents=True, exist_ok=True)
        order.checkpoints.mkdir(parents=True, exist_ok=True)
        self._out = order.logs / f"submit-{order.job}.out"
        self._log = order.logs / f"submit-{order.job}.log"
        command = [sys.executable, "-m", "stream.submit", "--job", order.job, "--rest", order.rest]
        command += ["--from", order.started_from] if order.started_from else []
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={"JVM_ARGS": _BRIEF, **os.environ, **order.environment, "MILLRACE_CHECKPOINTS": str(order.checkpoints)},
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - no other thread runs where jobs are submitted.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def result(self) -> tuple[str | None, str]:
        """Return (Flink's id of the job, "") or (None, why not), when it has ended."""
        try:
            answer = json.loads((tail_lines(self._out) or [""])[-1])
            return str(answer["id"]), ""
        except (ValueError, KeyError, TypeError):
            last = (tail_lines(self._log) or ["nothing in its log"])[-1]
            return None, f"its submission ended with exit code {self._process.returncode}: {last[:400]} (log: {self._log})"

    def kill(self) -> None:
        """End it."""
        if self.running:
            self._process.kill()
            self._process.wait()
