"""The rules of the label ledger: what becomes of the labels of one event. Pure: state and input in, state and decisions out.

A label waits for its event; once the event's first prediction is known, its labels are decided in the order in which they
lie in the feedback topic. Each label is in exactly one state, and a final state never changes.
"""

from __future__ import annotations

import msgspec

from schemas.records import Feedback, FeedbackRef, Position, Prediction, State

WAITING_MAX = 1000
"""Labels of one event that wait for it at the same time; their number bounds what each further label of it costs."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A valid feedback record and where it lies in its topic."""

    feedback: Feedback
    at: Position

    @property
    def ref(self) -> FeedbackRef:
        """The reference by which label states name it."""
        return FeedbackRef(at=self.at, feedback_id=self.feedback.feedback_id, source=self.feedback.source)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A label whose event is not here yet; an orphan at `due` (epoch ms)."""

    incoming: Incoming
    due: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of one event.

    Attributes:
        prediction: its first prediction, once a label has met it.
        waiting: the labels that wait for it, in their order.
        decided: in each partition of the feedback topic, the offset up to which its labels are decided.
        label: the label that stands: the last one that was learned.
        forget_at: when all this may be forgotten, epoch ms.
    """

    prediction: Prediction | None = None
    waiting: tuple[Waiting, ...] = ()
    decided: dict[int, int] = {}
    label: str | None = None
    forget_at: int = 0

    @property
    def due(self) -> int:
        """When `expire` has something to do next, epoch ms."""
        return min([self.forget_at, *(w.due for w in self.waiting)])


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A label's new state. With `prediction` it is to be learned, and the learner gives it a seq.

    `previous` is the state that was announced before, `corrects` the label that stood before.
    """

    incoming: Incoming
    state: State
    previous: State | None = None
    prediction: Prediction | None = None
    corrects: str | None = None


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long labels wait for their event, and how long an event's account is kept; both in ms."""

    label_wait_ms: int
    event_known_ms: int


def settle(
    account: Account, incoming: Incoming, prediction: Prediction | None, *, now: int, waits: Waits
) -> tuple[Account, list[Decision]]:
    """Take in a label, with its event's prediction where it has been matched, and decide what can be decided.

    The same label may come twice, first unmatched and later matched; it is decided once. A label that finds `WAITING_MAX`
    others waiting is an orphan at once; when the prediction comes with it, the others are decided.
    """
    is_new = not _is_decided(account, incoming) and all(w.incoming.at != incoming.at for w in account.waiting)
    if not is_new and not account.waiting:
        return account, []
    prediction = account.prediction or prediction
    if prediction is None:
        if not is_new:
            return account, []
        if len(account.waiting) >= WAITING_MAX:
            return _settled(account, incoming), [Decision(incoming=incoming, state=State.ORPHAN)]
        return _put_off(account, incoming, now, waits), [Decision(incoming=incoming, state=State.WAITING)]
    due = [(w.incoming, State.WAITING) for w in account.waiting] + ([(incoming, None)] if is_new else [])
    account = msgspec.structs.replace(account, prediction=prediction, waiting=(), forget_at=now + waits.event_known_ms)
    decisions = []
    for label, previous in due:
        account, decision = _decide(account, label, previous, waits)
        decisions.append(decision)
    return account, decisions


def _is_decided(account: Account, incoming: Incoming) -> bool:
    return incoming.at.offset <= account.decided.get(incoming.at.partition, -1)


def expire(account: Account, *, now: int) -> tuple[Account | None, list[Decision]]:
    """Make orphans of the labels that have waited long enough; None in place of an account that may be forgotten."""
    late = [w for w in account.waiting if w.due <= now]
    decisions = [Decision(incoming=w.incoming, state=State.ORPHAN, previous=State.WAITING) for w in late]
    for waited in late:
        account = _settled(account, waited.incoming)
    account = msgspec.structs.replace(account, waiting=tuple(w for w in account.waiting if w.due > now))
    return (None if account.forget_at <= now and not account.waiting else account), decisions


def _put_off(account: Account, incoming: Incoming, now: int, waits: Waits) -> Account:
    waiting = Waiting(incoming=incoming, due=now + waits.label_wait_ms)
    # Kept past the wait itself: a match that comes after it must find the label decided.
    forget_at = now + waits.label_wait_ms + waits.event_known_ms
    return msgspec.structs.replace(account, waiting=(*account.waiting, waiting), forget_at=forget_at)


def _decide(account: Account, incoming: Incoming, previous: State | None, waits: Waits) -> tuple[Account, Decision]:
    """Decide a label whose event's prediction is known."""
    label, standing = incoming.feedback.label, account.label
    account = _settled(account, incoming)
    if label == standing:
        return account, Decision(incoming=incoming, state=State.DUPLICATE, previous=previous)
    # Times of the records, not of this machine: a replay decides the same.
    if account.prediction is not None and incoming.at.time - account.prediction.predicted_at > waits.label_wait_ms:
        return account, Decision(incoming=incoming, state=State.EXPIRED, previous=previous)
    state = State.TRAINED if standing is None else State.CORRECTED
    decision = Decision(incoming=incoming, state=state, previous=previous, prediction=account.prediction, corrects=standing)
    return msgspec.structs.replace(account, label=label), decision


def _settled(account: Account, incoming: Incoming) -> Account:
    at = incoming.at
    return msgspec.structs.replace(
        account, decided={**account.decided, at.partition: max(at.offset, account.decided.get(at.partition, -1))}
    )
