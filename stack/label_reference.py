"""What must become of the labels of one event, said once more and plainly, for the report to hold the stack's ledger against.

It knows what lies in the topics, and nothing of how the stack decides: no state, no timers, no matching. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from schemas.records import State, Verdict

Place = tuple[int, int]
"""Partition and offset."""

LEARNED = frozenset({State.TRAINED, State.CORRECTED})
_COUNTED = LEARNED | {State.MARKED, State.DUPLICATE}
_WRONG = ""
"""What a verdict `wrong` says in place of a label."""
_ANY_FINAL = frozenset(State) - {State.WAITING, State.REJECTED}


class LabelRecord(msgspec.Struct, frozen=True, gc=False):
    """A feedback record.

    Attributes:
        place: where it lies.
        event: the event's number.
        label: its label, if it has one.
        verdict: its verdict, if it has one.
        time: Kafka's time of it, epoch ms.
        refused: whether it is a dead letter.
        feedback_id: the sender's id of the message, if it gave one.
    """

    place: Place
    event: int
    label: str | None
    time: int
    refused: bool = False
    feedback_id: str | None = None
    verdict: Verdict | None = None


class Found(msgspec.Struct, frozen=True, gc=False):
    """The last state that was announced for a feedback record, when, and with which seq."""

    state: State
    time: int
    seq: int | None


class Expected(msgspec.Struct, frozen=True):
    """What a label must have become.

    Attributes:
        states: the states that it may have: one, or more where the rules leave it open.
        standing: the label that stood before it.
        label: the label that it gives; None for a verdict `wrong`.
        marked: whether a verdict `wrong` has scored the event before it.
    """

    states: frozenset[State]
    standing: str | None = None
    label: str | None = None
    marked: bool = False


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The two waits, in milliseconds: how long labels and predictions wait for each other, and how long an event is known."""

    label_wait_ms: int
    event_known_ms: int


def expected_states(
    labels: Sequence[LabelRecord], predicted_at: int | None, found: Mapping[Place, Found], rules: Rules, *, served: str | None = None
) -> list[Expected]:
    """Return what each label's state must be.

    The first label of an event is trained, one like the label that stands is a duplicate, and so is a message that was learned or a
    duplicate before (the same id and label); any other label is corrected and stands from then on. A label that came too long after the
    prediction is expired, unless it is a duplicate.

    A verdict is rejected if no label was served. `right` is the label that was served. `wrong` is marked; but a duplicate if a label
    stands that is another than the served one, and if a `wrong` stands: no label has come since, be it the one that stood.

    The rules leave open what depends on when the stack read a record: a label may be an orphan if it was declared one no sooner than
    the wait after it came; and what comes after an event may have been forgotten. There the state that was found counts.

    Args:
        labels: all labels of one event, in the order in which they lie in their partition.
        predicted_at: the time of the event's first prediction, epoch ms; None if it has none.
        found: the states that were announced.
        rules: the waits.
        served: the label of that prediction.

    >>> labels = [LabelRecord((0, n), 7, label, 100) for n, label in enumerate("aab")]
    >>> rules = Rules(label_wait_ms=1000, event_known_ms=5000)
    >>> [(*e.states, e.standing) for e in expected_states(labels, 50, {}, rules)]
    [(<State.TRAINED: 'trained'>, None), (<State.DUPLICATE: 'duplicate'>, 'a'), (<State.CORRECTED: 'corrected'>, 'a')]
    """
    standing: str | None = None
    marked = False
    messages: set[tuple[str, str | None]] = set()
    result = []
    for label in labels:
        state, says = found.get(label.place), _says(label, served)
        repeated = label.feedback_id is not None and (label.feedback_id, says) in messages
        denied = marked or standing not in (None, served)
        known = repeated or (denied if says == _WRONG else says == standing)
        states = _states(label, says, predicted_at, state, rules, known=known, first=standing is None)
        expected = Expected(states, standing, says or None, marked and standing is None)
        result.append(expected)
        if label.feedback_id is not None and _is(expected, state, _COUNTED):
            messages.add((label.feedback_id, says))
        if says != _WRONG and not repeated and _is(expected, state, _COUNTED):
            standing, marked = says, False
        marked = marked or _is(expected, state, {State.MARKED})
    return result


def _says(label: LabelRecord, served: str | None) -> str | None:
    """Return the label that a record gives, `_WRONG` for one that denies what was served; None if there is neither."""
    if label.verdict is None:
        return label.label
    return _WRONG if label.verdict == "wrong" and served is not None else served


def _states(
    label: LabelRecord, says: str | None, predicted_at: int | None, found: Found | None, rules: Rules, *, known: bool, first: bool
) -> frozenset[State]:
    if label.refused:
        return frozenset({State.REJECTED})
    if predicted_at is None:
        return frozenset({State.WAITING, State.ORPHAN})
    states = frozenset({_by_rule(label, says, predicted_at, rules, known=known, first=first)})
    if found and found.time - predicted_at >= rules.event_known_ms:
        return _ANY_FINAL
    if found and found.state is State.ORPHAN and found.time - label.time >= rules.label_wait_ms:
        states |= {State.ORPHAN}
    return states


def _by_rule(label: LabelRecord, says: str | None, predicted_at: int, rules: Rules, *, known: bool, first: bool) -> State:
    if says is None:
        return State.REJECTED
    if known:
        return State.DUPLICATE
    if label.time - predicted_at > rules.label_wait_ms:
        return State.EXPIRED
    if says == _WRONG:
        return State.MARKED
    return State.TRAINED if first else State.CORRECTED


def _is(expected: Expected, found: Found | None, states: AbstractSet[State]) -> bool:
    """Return whether the label is in one of the states: by what was found where it is open, else by the rule."""
    if found and found.state in expected.states:
        return found.state in states
    return bool(expected.states & states)
