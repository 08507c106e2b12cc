"""The operator that keeps the label ledger: one account an event, in keyed state, expired by timers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor

from online_model.ledger import Account, Decision, Incoming, Waits, expire, settle
from schemas.parsing import encode
from schemas.records import Prediction
from schemas.settings import Settings
from stream.clock import now_ms

_account = msgspec.json.Decoder(Account)
_incoming = msgspec.json.Decoder(Incoming)
_prediction = msgspec.json.Decoder(Prediction)

FORGETS_LATER_MS = 60_000
"""Accounts outlive the state of the match by so long: a row of it that is still on its way must not meet a forgotten account."""


class Ledger(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink's classes are untyped
    """Turns labels, with or without their prediction, into decisions; keyed by task and event id, joined by a line break."""

    def __init__(self, settings: Settings) -> None:
        self._waits = Waits(label_wait_ms=settings.label_wait_s * 1000, event_known_ms=settings.kept_s * 1000 + FORGETS_LATER_MS)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Name the state."""
        self._state = runtime_context.get_state(ValueStateDescriptor("account", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Take a row `MATCH`."""
        stored = self._state.value()
        before = _account.decode(stored) if stored else Account()
        prediction = _prediction.decode(value[3]) if value[3] is not None else None
        account, decisions = settle(before, _incoming.decode(value[2]), prediction, now=now_ms(), waits=self._waits)
        if account != before:
            self._state.update(encode(account))
        if account.due != before.due:
            ctx.timer_service().register_processing_time_timer(account.due)
        yield from _rows(value[0], decisions)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Expire what is due. Timers of dues that have moved since find nothing to do."""
        stored = self._state.value()
        if not stored:
            return
        account, decisions = expire(_account.decode(stored), now=timestamp)
        if account is None:
            self._state.clear()
        else:
            self._state.update(encode(account))
            ctx.timer_service().register_processing_time_timer(account.due)
        yield from _rows(ctx.get_current_key().partition("\n")[0], decisions)


def _rows(task: str, decisions: Iterable[Decision]) -> Iterator[Row]:
    for decision in decisions:
        yield Row(task, encode(decision))
