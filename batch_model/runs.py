"""One refresh as a program of its own, so that its memory is given back and its crash is not the worker's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from batch_model.triggers import Due, Outcome, Seen
from store.programs import dying_with_parent

STOP_S: Final = 15.0
_LINES_KEPT = 3
_TOLD = "millrace: "


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the program prints about itself, as far as the worker needs it."""

    verdict: str
    line: str
    reasons: list[str]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run has ended: whether it came to its end, and what it said."""

    outcome: Outcome
    said: str


class Run:
    """A refresh of `task` that runs. Its output goes into the folder: `worker-TASK.log`, and the result in `worker-TASK.json`."""

    def __init__(self, task: str, due: Due, seen: Seen, folder: Path, *, now: float, program: str = "batch_model") -> None:
        """Start it.

        Raises:
            OSError: if it cannot be started.
        """
        self.task, self.due, self.seen, self.began = task, due, seen, now
        self._log, self._result = folder / f"worker-{task}.log", folder / f"worker-{task}.json"
        self._stopped_for = ""
        command = [sys.executable, "-m", program, "refresh", "--task", task, "--by", "worker", "--why", due.why, "--json"]
        with self._log.open("wb") as log, self._result.open("wb") as result:
            # SIGTERM, not SIGKILL, if the worker is killed: it may say goodbye to the broker.
            self._process = subprocess.Popen(
                dying_with_parent(command, signal.SIGTERM), stdin=subprocess.DEVNULL, stdout=result, stderr=log, env=_environment()
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ended(self) -> Ended | None:
        """Return how it has ended, None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if self._stopped_for:
            return Ended(outcome="failed", said=self._stopped_for)
        try:
            verdict = msgspec.json.decode(self._result.read_bytes(), type=Verdict)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return Ended(outcome="failed", said=f"it ended with exit code {code}: {self._last_lines()}")
        said = f"{verdict.verdict}: {verdict.line}. {' '.join(verdict.reasons)}"
        # A challenger that the gate did not let pass is an answer; one that the learner refused is to be tried again.
        return Ended(outcome="failed" if verdict.verdict == "refused" else "done", said=said)

    def stop(self, why: str) -> None:
        """End it; a refresh that is stopped changes nothing, and the next one takes up its work."""
        self._stopped_for = why
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_lines(self) -> str:
        with self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        # What the program says to whoever must act; else what it was doing, or the end of a traceback.
        told = [line.removeprefix(_TOLD) for line in lines if line.startswith(_TOLD)]
        return " ".join(told or lines[-_LINES_KEPT:]) or f"nothing in {self._log}"


def _environment() -> dict[str, str]:
    packages = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))}
