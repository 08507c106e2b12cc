"""The client that submits jobs: one process of `python -m stream.submit --serve`, watched without waiting for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from stack.java import COMPILE_QUICKLY
from stack.process import tail_lines
from store.programs import dying_with_parent

TIMEOUT_S = 240.0
IDLE_S = 30.0
"""So long after its last answer the client ends: it would hold some hundred MiB for nothing."""
_BRIEF = " ".join((*COMPILE_QUICKLY, "-XX:+UseSerialGC", "-Xmx512m"))


@dataclass(frozen=True)
class Order:
    """What to submit: a job, the folder for its checkpoints, and the state to start from (None: empty).

    `rewind` says between which times (epoch ms) output may have been committed that the state does not know of, if it is old.
    """

    job: str
    checkpoints: Path
    started_from: str | None
    rewind: tuple[int, int] | None = None


class _Answer(msgspec.Struct):
    job: str
    id: str | None = None
    error: str | None = None
    state_unreadable: bool = False


class RunningSubmission:
    """An order on its way through the client process that took it."""

    def __init__(self, order: Order, client: SubmissionClient, process: subprocess.Popen[bytes]) -> None:
        self.order = order
        self._client = client
        self._process = process
        self.answer: _Answer | None = None

    @property
    def running(self) -> bool:
        """Whether no answer has come, and one still may."""
        self._client.read_answers()
        return self.answer is None and self._process.poll() is None

    def result(self) -> tuple[str | None, str]:
        """Return (Flink's id of the job, "") or (None, why not), when it does not run any more."""
        if self.answer is None:
            return None, f"the client that submits jobs ended with exit code {self._process.returncode}: {self._client.trouble()}"
        if self.answer.id is None:
            return None, f"{(self.answer.error or 'no reason given')[:400]} (log: {self._client.log})"
        return self.answer.id, ""

    @property
    def state_unreadable(self) -> bool:
        """Whether it was refused because the state could not be read."""
        return self.answer is not None and self.answer.state_unreadable

    def kill(self) -> None:
        """End the client; what else it had in hand is submitted again."""
        self._client.stop()


class SubmissionClient:
    """Starts the client process when one is needed, hands it orders one after the other, and ends it when it idles.

    Args:
        rest: `host:port` of the cluster.
        logs: folder for what the process says.
        environment: of the process: the settings, and what leads it to Flink.
    """

    def __init__(self, rest: str, logs: Path, environment: Mapping[str, str]) -> None:
        self._rest = rest
        self._environment = environment
        self.log = logs / "submit.log"
        self._out = logs / "submit.out"
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: IO[bytes] | None = None
        self._partial = b""
        self._open: list[RunningSubmission] = []
        self._idle_since: float | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process unless it runs: it is ready for orders some seconds later, and takes them at once."""
        self._idle_since = None
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self._out.open("wb") as out, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                dying_with_parent([sys.executable, "-m", "stream.submit", "--serve", "--rest", self._rest]),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=log,
                env={"JVM_ARGS": f"{_BRIEF} -Djava.io.tmpdir={self._environment['TMPDIR']}", **os.environ, **self._environment},
                start_new_session=True,
            )
        self._answers = self._out.open("rb")
        self._partial = b""
        return self._process

    def submit(self, order: Order) -> RunningSubmission:
        """Hand over an order."""
        order.checkpoints.mkdir(parents=True, exist_ok=True)
        process = self.start()
        wanted = {"job": order.job, "checkpoints": str(order.checkpoints), "from": order.started_from, "rewind": order.rewind}
        line = msgspec.json.encode(wanted)
        submission = RunningSubmission(order, self, process)
        self._open.append(submission)
        try:
            if process.stdin is not None:
                process.stdin.write(line + b"\n")
                process.stdin.flush()
        except BrokenPipeError:
            process.wait()  # Its result will say so.
        return submission

    def read_answers(self) -> None:
        """Give the answers that have come to their orders; they come in the orders' order."""
        if self._answers is None:
            return
        *lines, self._partial = (self._partial + self._answers.read()).split(b"\n")
        for line in lines:
            answer = _decoded(line)
            if answer is None:
                continue
            for submission in [submission for submission in self._open if submission.order.job == answer.job][:1]:
                submission.answer = answer
                self._open.remove(submission)

    def tick(self, now: float) -> None:
        """End the process when it has had nothing to do for a while."""
        self.read_answers()
        if self._process is None or self._open:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > IDLE_S:
            self.stop()

    def stop(self) -> None:
        """End the process; orders without an answer get none."""
        self._open.clear()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(BrokenPipeError):
                if self._process.stdin is not None:
                    self._process.stdin.close()
        if self._answers is not None:
            self._answers.close()
        self._process = self._answers = None

    def trouble(self) -> str:
        """Return the last thing that the process said."""
        return f"{(tail_lines(self.log) or ['nothing in its log'])[-1][:400]} (log: {self.log})"


def _decoded(line: bytes) -> _Answer | None:
    try:
        return msgspec.json.decode(line, type=_Answer)
    except msgspec.DecodeError:
        return None  # Something that a library printed.
