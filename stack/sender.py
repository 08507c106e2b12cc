"""Sends a stream of rows to Kafka as events, and some of their labels a while later."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

import msgspec

from schemas.topics import Topic
from stack.outbox import DeliveryError, Outbox
from stack.schedule import Plan, sends
from stack.sent_ledger import SentLedger
from store.committed import end_offsets
from store.labelled_files import BadLine, Row

PROGRESS_S = 1.0
_SHORTEST_SLEEP_S = 0.0005


class Sent(msgspec.Struct, kw_only=True):
    """What has been sent.

    Attributes:
        run_id: what the event ids begin with.
        started: when sending began, epoch seconds.
        events: different events.
        repeated: records of events beyond the first of each.
        labels: records of labels, whether they repeat one or not.
        skipped: lines of the source that held no usable row.
        refused: records that Kafka did not acknowledge.
        complete: whether it ended because all was sent.
    """

    run_id: str
    started: float
    events: int = 0
    repeated: int = 0
    labels: int = 0
    skipped: int = 0
    refused: int = 0
    complete: bool = False


def new_run_id() -> str:
    """Return an id that no other run has; event ids are `<run id>-<number>`."""
    return f"r{secrets.token_hex(5)}"


class Replay:
    """Sends one stream once. `sent` may be read from other threads meanwhile; `stop` ends it after the record in hand."""

    def __init__(self, *, kafka: str, topic_prefix: str, plan: Plan, run_id: str | None = None, ledger: Path | None = None) -> None:
        """Prepare the run; `send` does it, and writes the ledger of what Kafka has acknowledged, if there is to be one."""
        self.plan = plan
        self.sent = Sent(run_id=run_id or new_run_id(), started=time.time())
        self.stop = threading.Event()
        self._kafka = kafka
        self._prefix = topic_prefix
        self._ledger = ledger

    def send(
        self,
        rows: Iterable[Row | BadLine],
        *,
        on_skip: Callable[[BadLine], None] = lambda _: None,
        on_progress: Callable[[Sent], None] = lambda _: None,
    ) -> Sent:
        """Send all rows and wait until Kafka has them.

        Raises:
            KafkaUnavailable: if no broker answers at the beginning, or it has no such topics.
            DeliveryError: if Kafka does not take a record.
            LedgerError: if the ledger cannot be written.
            SourceError: if the source breaks off.
        """
        # Asked first, because a send would wait for a topic that does not exist as for one that is away.
        end_offsets(self._kafka, [self._prefix + t for t in (Topic.EVENTS, Topic.FEEDBACK)])
        with SentLedger(self._ledger) if self._ledger else nullcontext() as ledger:
            outbox = Outbox(self._kafka, at_full_speed=not self.plan.rate, stop=self.stop, ledger=ledger)
            with outbox:
                self._send_all(outbox, self._usable(rows, on_skip), on_progress)
        self.sent.refused = outbox.refused
        self.sent.complete = not self.stop.is_set()
        # Who has stopped it knows that records were under way.
        if outbox.failure and self.sent.complete:
            raise DeliveryError(f"Kafka at {self._kafka} refused {outbox.refused} records, the first: {outbox.failure}")
        return self.sent

    def _usable(self, rows: Iterable[Row | BadLine], on_skip: Callable[[BadLine], None]) -> Iterator[Row]:
        for row in rows:
            if isinstance(row, BadLine):
                self.sent.skipped += 1
                on_skip(row)
            else:
                yield row

    def _send_all(self, outbox: Outbox, rows: Iterator[Row], on_progress: Callable[[Sent], None]) -> None:
        self.sent.started = time.time()
        began, told, sent = time.monotonic(), 0.0, self.sent
        for send in sends(rows, self.plan, sent.run_id, lambda: time.monotonic() - began):
            while not self.stop.is_set():
                now = time.monotonic() - began
                if now - told >= PROGRESS_S:
                    told = now
                    on_progress(sent)
                if send.due - now < _SHORTEST_SLEEP_S:
                    break
                self.stop.wait(min(send.due - now, PROGRESS_S / 2))
            if self.stop.is_set() or not outbox.put(self._prefix + send.topic, send.record):
                return
            if send.topic is Topic.FEEDBACK:
                sent.labels += 1
            elif send.again:
                sent.repeated += 1
            else:
                sent.events += 1
