"""The ledger of what was sent: a line of JSON for each record that Kafka has acknowledged or refused, for whoever checks from outside."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

FLUSH_S = 0.5
"""Lines reach the file at the latest so long, and one write, after they were added."""


class LedgerError(Exception):
    """The ledger cannot be written; whoever named the file must act."""


class SentLine(msgspec.Struct, frozen=True, kw_only=True):
    """A record that Kafka has acknowledged.

    Attributes:
        topic: its name on the broker.
        partition: where it lies.
        offset: where it lies.
        event_id: which event it is or is about.
        label: None for an event.
        sha256: of the record's value, in hex.
        ms: the record's time in Kafka, epoch milliseconds.
    """

    topic: str
    partition: int | None
    offset: int | None
    event_id: str
    label: str | None
    sha256: str
    ms: int


class RefusedLine(SentLine, frozen=True, kw_only=True):
    """A record that was not acknowledged, with the reason: it lies nowhere, or nobody knows where."""

    error: str


class SentLedger:
    """Writes lines from a thread of its own, so that a slow disk does not hold up sending. A context: at its end all is written.

    Raises:
        LedgerError: at its beginning, at its end and in `check`, if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file anew."""
        self._path = path
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._failure: OSError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise self._said(error) from error
        self._writer = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._writer.start()

    def add(self, line: SentLine) -> None:
        """Take in a line, from any thread."""
        data = msgspec.json.encode(line) + b"\n"
        with self._lock:
            self._lines.append(data)

    def check(self) -> None:
        """Raise `LedgerError` if lines could not be written."""
        if self._failure:
            raise self._said(self._failure)

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_S):
            self._write()

    def _write(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        try:
            if lines and not self._failure:
                data = memoryview(b"".join(lines))
                while data:
                    data = data[self._file.write(data) :]
        except OSError as error:
            self._failure = error

    def _said(self, error: OSError) -> LedgerError:
        return LedgerError(f"{self._path}: the ledger cannot be written: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self._writer.join()
        self._write()
        self._file.close()
        if kind is None:
            self.check()
