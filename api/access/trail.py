"""The audit trail: a thread of its own that writes the records to their topic, and keeps what Kafka does not take until it does."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from api.incoming import Outgoing
from api.publisher import RecordTooLarge
from api.views import PartView
from schemas.audit import AuditRecord
from schemas.parsing import encode
from store.connect import KafkaUnavailable

OPEN_MAX = 10_000
"""So many records wait for Kafka; further ones are written to the log instead."""
ADDED_UP_S = 10.0
ADDED_UP_MAX = 1000
"""So long are events, feedback and refusals added up, and at most for so many callers, actions and answers."""
_BATCH = 500
_RETRY_S = 2.0

log = logging.getLogger("api.audit")


class Trail:
    """Takes records from any thread and writes them in order. One that Kafka may have taken is sent again: it may be there twice.

    Args:
        publish: writes records to the topic; raises `KafkaUnavailable`.
        clock: the time, epoch s.
    """

    def __init__(self, publish: Callable[[Sequence[Outgoing]], None], clock: Callable[[], float] = time.time) -> None:
        self._publish, self._clock = publish, clock
        self._changed = threading.Condition()
        self._stopping = False
        self._open: deque[tuple[AuditRecord, Future[None]]] = deque()
        self._added_up: dict[tuple[object, ...], AuditRecord] = {}
        self._flush_at = float("inf")
        self._trouble: str | None = None
        self._since = self._now()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to write; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Write what is open, if Kafka takes it now; what it does not take goes to the log."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def note(self, record: AuditRecord) -> Future[None]:
        """Take a record; the future is done when Kafka has it."""
        future: Future[None] = Future()
        with self._changed:
            if len(self._open) >= OPEN_MAX:
                _lost(record, "the audit trail is full")
                future.set_result(None)
            else:
                self._open.append((record, future))
                self._changed.notify()
        return future

    def add_up(self, record: AuditRecord) -> None:
        """Take a record that is one of many: it is added to those of the same caller, action, task and answer."""
        key = (record.name, record.address, record.action, record.task, record.status)
        with self._changed:
            known = self._added_up.get(key)
            since, requests, items = (known.since, known.requests, known.items) if known else (record.time, 0, 0)
            self._added_up[key] = msgspec.structs.replace(
                record, since=since, requests=requests + record.requests, items=items + record.items, request_id=None, ids=()
            )
            if self._flush_at == float("inf"):
                self._flush_at = time.monotonic() + ADDED_UP_S
                self._changed.notify()
            if len(self._added_up) >= ADDED_UP_MAX:
                self._flush()

    def part(self) -> PartView:
        """Say how it is."""
        with self._changed:
            waiting = len(self._open)
            detail = f"{waiting} records wait: {self._trouble}" if self._trouble else "written as it happens"
            return PartView(ready=self._trouble is None, detail=detail, since=self._since)

    def _flush(self) -> None:
        """Put what was added up among the open records; the lock is held."""
        for record in self._added_up.values():
            if len(self._open) >= OPEN_MAX:
                _lost(record, "the audit trail is full")
            else:
                self._open.append((record, Future()))
        self._added_up.clear()
        self._flush_at = float("inf")
        self._changed.notify()

    def _run(self) -> None:
        while True:
            batch, stopping = self._next()
            if not batch:
                return
            trouble = self._write([record for record, _ in batch])
            with self._changed:
                self._tell(trouble)
                if trouble is None:
                    for _, future in batch:
                        self._open.popleft()
                        future.set_result(None)
                elif stopping:
                    for record, _ in self._open:
                        _lost(record, trouble)
                    return
                else:
                    self._changed.wait_for(lambda: self._stopping, _RETRY_S)

    def _next(self) -> tuple[list[tuple[AuditRecord, Future[None]]], bool]:
        """Wait for records, and return the first of them; none when all is written and it is to stop."""
        with self._changed:
            while not self._open:
                if self._added_up and (self._stopping or time.monotonic() >= self._flush_at):
                    self._flush()
                elif self._stopping:
                    break
                else:
                    self._changed.wait(max(0.0, self._flush_at - time.monotonic()) if self._added_up else None)
            if self._stopping:
                self._flush()
            return [self._open[place] for place in range(min(_BATCH, len(self._open)))], self._stopping

    def _write(self, records: list[AuditRecord]) -> str | None:
        """Write records, and return why they were not, if so."""
        try:
            self._publish([Outgoing("", (record.name or "").encode(), encode(record)) for record in records])
        except (KafkaUnavailable, RecordTooLarge) as error:
            return str(error)
        return None

    def _tell(self, trouble: str | None) -> None:
        if (trouble is None) is not (self._trouble is None):
            self._since = self._now()
            if trouble is not None:
                log.error("the audit trail is not written: %s", trouble)
        self._trouble = trouble

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _lost(record: AuditRecord, why: str) -> None:
    """Leave a record at least in the log."""
    log.error("an audit record is not in its topic: %s", why, extra={"audit": msgspec.to_builtins(record)})
