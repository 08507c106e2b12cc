"""Plays the jobs for the tests of the review queue: predictions are there, and labels are decided by the real rules of the ledger."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from online_model.ledger import Account, Decision, Incoming, Waits, settle
from schemas.parsing import encode, parse_feedback
from schemas.records import Feedback, LabelState, ModelVersion, Position, Prediction, State
from schemas.settings import Settings
from schemas.topics import Topic
from store.committed import open_consumer, partitions_of
from store.connect import connect_redis
from store.writer import RedisWriter

WAITS = Waits(label_wait_ms=60_000, event_known_ms=600_000)


def prediction(event_id: str, text: str, proba: dict[str, float], *, age_ms: int = 0) -> Prediction:
    now = int(time.time() * 1000) - age_ms
    return Prediction(
        label=next(iter(proba), None), proba=proba, classes=len(proba), model=ModelVersion(line="base", seq=7), event_id=event_id,
        task="default", text=text, meta={}, event_ts=now, predicted_at=now, source=Position(partition=0, offset=0, time=now),
    )  # fmt: skip


class PlayedLedger:
    """Follows the topic `feedback`, decides labels, and writes their states to Redis, as learn and publish would.

    Attributes:
        feedback: the records so far.
        states: what became of them, in their order.
    """

    def __init__(self, settings: Settings, predictions: list[Prediction]) -> None:
        self.settings = settings
        self.feedback: list[Feedback] = []
        self.states: list[LabelState] = []
        self._accounts = {p.event_id: Account(prediction=p) for p in predictions}
        self._seq = itertools.count(1)
        with connect_redis(settings.redis) as client:
            self.writer(client).write_predictions([encode(p) for p in predictions])

    def writer(self, client: object) -> RedisWriter:
        return RedisWriter(client, recent=self.settings.recent_predictions, topic_prefix=self.settings.topic_prefix)  # type: ignore[arg-type]  # a client

    def run(self, stop: threading.Event) -> None:
        with closing(open_consumer(self.settings.kafka)) as consumer, connect_redis(self.settings.redis) as client:
            parts = partitions_of(consumer, self.settings.topic_prefix + Topic.FEEDBACK)
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            while not stop.is_set():
                for records in consumer.poll(timeout_ms=50).values():
                    new = [
                        state
                        for r in records
                        for state in self._decided(r.value, Position(partition=r.partition, offset=r.offset, time=r.timestamp))
                    ]
                    self.writer(client).write_label_states(new)
                    self.states += new

    def _decided(self, value: bytes, at: Position) -> Iterator[LabelState]:
        sent = parse_feedback(value, tasks=self.settings.tasks, max_text_bytes=self.settings.max_text_bytes)
        self.feedback.append(sent)
        account = self._accounts.get(sent.event_id, Account())
        self._accounts[sent.event_id], decisions = settle(account, Incoming(feedback=sent, at=at), None, now=at.time, waits=WAITS)
        yield from (self._state(decision) for decision in decisions)

    def _state(self, decided: Decision) -> LabelState:
        sent, served = decided.incoming, decided.prediction
        learned = decided.state in (State.TRAINED, State.CORRECTED, State.MARKED)
        return LabelState(
            event_id=sent.feedback.event_id, task=sent.feedback.task, state=decided.state, previous=decided.previous, feedback=sent.ref,
            label=decided.label, seq=next(self._seq) if learned else None, served=served.label if served else None, time=sent.at.time,
        )  # fmt: skip


@contextmanager
def deciding(ledger: PlayedLedger) -> Iterator[PlayedLedger]:
    stop = threading.Event()
    thread = threading.Thread(target=ledger.run, args=(stop,))
    thread.start()
    try:
        yield ledger
    finally:
        stop.set()
        thread.join(30)
