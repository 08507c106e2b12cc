"""A part: one process of the stack, that dies with its parent, and that is found again by process id and start time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stack.errors import PartFailed
from store.programs import dying_with_parent

POLL_S = 0.1
LOG_LIMIT_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 32 * 1024
_TROUBLE = ("ERROR", "FATAL", "Error:", "Exception", "error:", '"level": "error"')


@dataclass
class Part:
    """A server process. Start it from a thread that lives as long as it shall.

    Attributes:
        name: its name in status and logs.
        command: returns the command line (called at each start).
        healthy: whether it answers now; returns within about a second.
        log: where the program logs; last lines of it explain a failure.
        out: where stdout and stderr go (default: `log`).
        port: where it listens.
        url: where a user looks at it.
        environment: variables added to ours.
        stop_timeout_s: how long it may take to end by itself.
    """

    name: str
    command: Callable[[], list[str]]
    healthy: Callable[[], bool]
    log: Path
    port: int
    out: Path | None = None
    url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    stop_timeout_s: float = 20
    process: subprocess.Popen[bytes] | None = None
    process_started: float = 0.0

    def start(self) -> None:
        """Start the process; returns at once."""
        out = self.out or self.log
        out.parent.mkdir(parents=True, exist_ok=True)
        _rotate(out)
        with out.open("ab") as sink:
            self.process = subprocess.Popen(
                dying_with_parent(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self.process_started = _create_time(self.process.pid)

    @property
    def pid(self) -> int | None:
        """The process id, or None if it does not run."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def wait_healthy(self, timeout_s: float = 90) -> Part:
        """Wait until it answers.

        Raises:
            PartFailed: if it ends, or does not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.healthy():
            if self.pid is None:
                raise PartFailed(f"{self.name} ended while it started: {self.trouble()} (log: {self.log})")
            if time.monotonic() > deadline:
                self.stop()
                raise PartFailed(f"{self.name} did not answer within {timeout_s:.0f} s (log: {self.log})")
            time.sleep(POLL_S)
        return self

    def ask_to_stop(self) -> None:
        """Send it SIGTERM, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def stop(self) -> None:
        """Stop it: SIGTERM, then SIGKILL after `stop_timeout_s`."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def trouble(self) -> str:
        """Return the last line in its logs that looks like an error, else the last line at all."""
        lines = [line for path in (self.log, self.out) if path for line in tail_lines(path)]
        errors = [line for line in lines if any(word in line for word in _TROUBLE)]
        code = self.process.poll() if self.process is not None else None
        return (errors or lines or [f"exit code {code}, and nothing in the log"])[-1][:500]


def tail_lines(path: Path, limit: int = _TAIL_BYTES) -> list[str]:
    """Return the non-empty lines in the last `limit` bytes of the file; none if it does not exist."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def is_running(pid: int, started: float) -> bool:
    """Whether the process that had this id and start time (epoch seconds) still runs: ids are used again."""
    return abs(_create_time(pid) - started) < 1.0 and psutil.pid_exists(pid)


def _create_time(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return 0.0


def _rotate(path: Path) -> None:
    """Keep one older file of output, so that it cannot grow without bound over restarts."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
