"""The observer's process from the outside: start it, follow it, end it, get what it saw."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from stack.report_metrics import Floats, Ints
from stack.watch import Status, Watch
from store.connect import KafkaUnavailable

READY_S = 30.0
END_S = 30.0


class Observed(msgspec.Struct, frozen=True):
    """Arrivals of predictions in Kafka (number of the event or -1, epoch seconds, model seq) and in Redis."""

    arrived_n: Ints
    arrived_at: Floats
    arrived_seq: Ints
    visible_n: Ints
    visible_at: Floats


class Observation:
    """A running observer. As a context manager it ends with the block, whatever happens in it."""

    def __init__(self, watch: Watch) -> None:
        """Start the observer and wait until it is ready; `watch.out` is chosen here.

        Raises:
            KafkaUnavailable: if the observer cannot read the topics.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="millrace-observed-")
        self._out = Path(self._folder.name) / "observed.npz"
        self.status = Status()
        self._ready = threading.Event()
        argument = msgspec.json.encode(msgspec.structs.replace(watch, out=str(self._out))).decode()
        self._errors = (Path(self._folder.name) / "errors").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stack.observe", argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._follower = threading.Thread(target=self._follow, name="observer", daemon=True)
        self._follower.start()
        if not self._ready.wait(READY_S) or not self.status.ends:
            self._end()
            reason = self._last_error
            self.close()
            raise KafkaUnavailable(f"the observer did not get ready: {reason}")

    def _follow(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        for line in self._process.stdout:
            self.status = msgspec.json.decode(line, type=Status)
            self._ready.set()
        self._ready.set()

    @property
    def alive(self) -> bool:
        """Whether the observer still runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The observer's process id."""
        return self._process.pid

    def finish(self) -> Observed:
        """End the observer and return what it saw.

        Raises:
            KafkaUnavailable: if it has failed.
        """
        self._end()
        if not self._out.is_file():
            raise KafkaUnavailable(f"the observer failed: {self._last_error}")
        with np.load(self._out) as arrays:
            return Observed(*(arrays[name] for name in Observed.__struct_fields__))

    def _end(self) -> None:
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._follower.join()

    @property
    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def close(self) -> None:
        """End the observer, if it still runs, and remove its files."""
        self._end()
        if self._process.stdout:
            self._process.stdout.close()
        if not self._errors.closed:
            self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
