"""The rules of the label ledger: what becomes of the labels of one event. Pure: state and input in, state and decisions out.

A label can be decided once its event's text is known: from the event's first prediction, or from a label that brings the text
with it. Until then it waits. Labels are decided in the order in which they came; each is in exactly one state, and a final
state never changes. A verdict is decided like a label: `right` is the label that was served, `wrong` denies it and gives none.
`docs/architecture.md` has the rules in words ("The life of a label").
"""

from __future__ import annotations

import msgspec

from schemas.records import Feedback, FeedbackRef, Position, Prediction, State

MESSAGES_MAX = 100
"""Messages of one event that are known when they are sent again, the newest ones."""

WAITING_MAX = 1000
"""Labels of one event that wait for it at the same time; their number bounds what each further label of it costs."""

DENIED = ""
"""What the verdict `wrong` says in place of a label; no label is empty."""

NOTHING_SERVED = "nothing_served: no label was served for the event, so there is nothing that a verdict could be about"
"""The reason of a verdict that is rejected. Its record is sound, so there is no dead letter: sending it again would not help."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A valid feedback record and where it lies in its topic."""

    feedback: Feedback
    at: Position

    @property
    def ref(self) -> FeedbackRef:
        """The reference by which label states name it."""
        sent = self.feedback
        return FeedbackRef(
            at=self.at,
            feedback_id=sent.feedback_id,
            source=sent.source,
            reviewer=sent.reviewer,
            drawn=sent.drawn,
            verdict=sent.verdict,
        )


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A label whose event is not here yet; an orphan at `due` (epoch ms)."""

    incoming: Incoming
    due: int


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of one event.

    Attributes:
        prediction: its first prediction, once a row has brought it.
        text: the text of its first self-contained label, until there is a prediction, whose text counts from then on.
        text_time: the time of that label's record, epoch ms.
        waiting: the labels that wait for it, in their order.
        decided: in each partition of the feedback topic, the offset up to which its labels are decided.
        label: the label that stands: the last one that was learned.
        marked: whether a verdict `wrong` stands: no label has come since. If no label stands, it has scored the event.
        messages: `feedback_id` and label of what was learned, marked or a duplicate, where the sender gave an id: to know them when sent
            again; `DENIED` is in place of the label of a `wrong`.
        forget_at: when all this may be forgotten, epoch ms.
    """

    prediction: Prediction | None = None
    text: str | None = None
    text_time: int = 0
    waiting: tuple[Waiting, ...] = ()
    decided: dict[int, int] = {}
    label: str | None = None
    marked: bool = False
    messages: tuple[tuple[str, str], ...] = ()
    forget_at: int = 0

    @property
    def known(self) -> bool:
        """Whether the event's text is known, so that its labels can be decided."""
        return self.prediction is not None or self.text is not None

    @property
    def served(self) -> str | None:
        """The label that was served for the event, if one was."""
        return None if self.prediction is None else self.prediction.label

    @property
    def known_since(self) -> int:
        """When the event became known, by the clock of its records, epoch ms: labels count as late from here."""
        return self.text_time if self.prediction is None else self.prediction.predicted_at

    @property
    def due(self) -> int:
        """When `expire` has something to do next, epoch ms."""
        return min((w.due for w in self.waiting), default=self.forget_at)

    def has(self, incoming: Incoming) -> bool:
        """Whether the label has been taken in before."""
        at = incoming.at
        return at.offset <= self.decided.get(at.partition, -1) or any(w.incoming.at == at for w in self.waiting)


class Decision(msgspec.Struct, frozen=True, kw_only=True, tag="decision"):
    """A label's new state. With a `text` it is to be learned, and the learner gives it a seq.

    `label` is what it says: of a verdict `right` the label that was served, once that is known; None for `wrong`. `previous` is the
    state that was announced before, `corrects` the label that stood before; `marked` says that a `wrong` has scored the event before.
    The text comes with the prediction that was served for it, or as `bare_text` if nobody had asked the model.
    """

    incoming: Incoming
    state: State
    previous: State | None = None
    label: str | None = None
    prediction: Prediction | None = None
    bare_text: str | None = None
    corrects: str | None = None
    marked: bool = False
    reason: str | None = None

    @property
    def text(self) -> str | None:
        """The text that the label is to be learned with; None if it teaches nothing."""
        if self.state is State.MARKED:
            return None
        return self.bare_text if self.prediction is None else self.prediction.text

    @property
    def denies(self) -> bool:
        """Whether it scores the served prediction as wrong: a `wrong` of an event that nothing has scored before."""
        return self.state is State.MARKED and self.corrects is None


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """How long labels wait for their event, and how long an event is known after the last thing that came about it; both in ms."""

    label_wait_ms: int
    event_known_ms: int


def settle(
    account: Account, incoming: Incoming, prediction: Prediction | None, *, now: int, waits: Waits
) -> tuple[Account, list[Decision]]:
    """Take in a label, with its event's prediction where it has been matched, and decide what can be decided.

    The same label may come any number of times, first unmatched and later matched; it is decided once. A label that finds
    `WAITING_MAX` others waiting is an orphan at once; when the event becomes known, the others are decided.
    """
    is_new = not account.has(incoming)
    account = _noted(account, incoming if is_new else None, prediction, now + waits.event_known_ms)
    if not account.known:
        if not is_new:
            return account, []
        if len(account.waiting) >= WAITING_MAX:
            return _settled(account, incoming), [Decision(incoming=incoming, state=State.ORPHAN, label=incoming.feedback.label)]
        waiting = Waiting(incoming=incoming, due=now + waits.label_wait_ms)
        decision = Decision(incoming=incoming, state=State.WAITING, label=incoming.feedback.label)
        return msgspec.structs.replace(account, waiting=(*account.waiting, waiting)), [decision]
    due = [(w.incoming, State.WAITING) for w in account.waiting] + ([(incoming, None)] if is_new else [])
    account = msgspec.structs.replace(account, waiting=())
    decisions = []
    for label, previous in due:
        account, decision = _decide(account, label, previous, waits)
        decisions.append(decision)
    return account, decisions


def expire(account: Account, *, now: int) -> tuple[Account | None, list[Decision]]:
    """Make orphans of the labels that have waited long enough; None in place of an account that may be forgotten."""
    late = [w for w in account.waiting if w.due <= now]
    decisions = []
    for incoming in (w.incoming for w in late):
        account = _settled(account, incoming)
        decisions.append(Decision(incoming=incoming, state=State.ORPHAN, previous=State.WAITING, label=incoming.feedback.label))
    account = msgspec.structs.replace(account, waiting=tuple(w for w in account.waiting if w.due > now))
    return (None if account.forget_at <= now and not account.waiting else account), decisions


def _noted(account: Account, new: Incoming | None, prediction: Prediction | None, forget_at: int) -> Account:
    """Keep what a row brings: the event's first prediction, and the text of its first self-contained label.

    Every row prolongs the account, also one that brings nothing new: what matches labels and predictions has been prolonged by it
    too, and must not bring an old label to an account that has forgotten it.
    """
    prediction = account.prediction or prediction
    text = account.text if prediction is None else None
    account = msgspec.structs.replace(account, prediction=prediction, text=text, forget_at=max(account.forget_at, forget_at))
    if new is None or new.feedback.text is None or account.known:
        return account
    return msgspec.structs.replace(account, text=new.feedback.text, text_time=new.at.time)


def _decide(account: Account, incoming: Incoming, previous: State | None, waits: Waits) -> tuple[Account, Decision]:
    """Decide a label whose event is known."""
    said = _said(account, incoming.feedback)
    account = _settled(account, incoming)
    decision = Decision(incoming=incoming, state=State.REJECTED, previous=previous, label=said or None)
    if said is None:
        return account, msgspec.structs.replace(decision, reason=NOTHING_SERVED)
    message = _message(incoming, said)
    # The same message sent again is no correction, also when another label has come between.
    repeated = message in account.messages
    if repeated or _is_known(account, said):
        marked = account.marked and (repeated or said == DENIED)
        account = msgspec.structs.replace(account, marked=marked)
        return _with_message(account, message), msgspec.structs.replace(decision, state=State.DUPLICATE)
    # Times of the records, not of this machine: a replay decides the same.
    if incoming.feedback.text is None and incoming.at.time - account.known_since > waits.label_wait_ms:
        return account, msgspec.structs.replace(decision, state=State.EXPIRED)
    decision = _news(account, decision, said)
    account = msgspec.structs.replace(account, label=decision.label or account.label, marked=said == DENIED)
    return _with_message(account, message), decision


def _said(account: Account, feedback: Feedback) -> str | None:
    """Return the label that a record gives, `DENIED` for a `wrong`; None for a verdict if no label was served."""
    if feedback.verdict is None:
        return feedback.label
    return DENIED if feedback.verdict == "wrong" and account.served is not None else account.served


def _is_known(account: Account, said: str) -> bool:
    """Whether it says what is known: the label that stands, or that something is wrong which a `wrong` or another label denies already."""
    if said == DENIED:
        return account.marked or account.label not in (None, account.served)
    return said == account.label


def _news(account: Account, decision: Decision, said: str) -> Decision:
    """Return the decision on what is new and in time."""
    state = State.MARKED if said == DENIED else State.TRAINED if account.label is None else State.CORRECTED
    return msgspec.structs.replace(
        decision,
        state=state,
        prediction=account.prediction,
        bare_text=account.text,
        corrects=account.label,
        marked=account.marked and account.label is None,
    )


def _message(incoming: Incoming, said: str) -> tuple[str, str] | None:
    """Return what tells a message sent again from a new one that says the same; None if its sender gave it no id."""
    feedback_id = incoming.feedback.feedback_id
    return None if feedback_id is None else (feedback_id, said)


def _with_message(account: Account, message: tuple[str, str] | None) -> Account:
    if message is None or message in account.messages:
        return account
    return msgspec.structs.replace(account, messages=(*account.messages, message)[-MESSAGES_MAX:])


def _settled(account: Account, incoming: Incoming) -> Account:
    at = incoming.at
    return msgspec.structs.replace(
        account, decided={**account.decided, at.partition: max(at.offset, account.decided.get(at.partition, -1))}
    )
