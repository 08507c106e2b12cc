"""What must become of the labels of one event, said once more and plainly, for the report to hold the stack's ledger against.

It knows what lies in the topics, and nothing of how the stack decides: no state, no timers, no matching. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from schemas.records import State

Place = tuple[int, int]
"""Partition and offset."""

LEARNED = frozenset({State.TRAINED, State.CORRECTED})
_ANY_FINAL = frozenset(State) - {State.WAITING, State.REJECTED}


class LabelRecord(msgspec.Struct, frozen=True, gc=False):
    """A feedback record.

    Attributes:
        place: where it lies.
        event: the event's number.
        label: its label, if it has one.
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


class Found(msgspec.Struct, frozen=True, gc=False):
    """The last state that was announced for a feedback record, when, and with which seq."""

    state: State
    time: int
    seq: int | None


class Expected(msgspec.Struct, frozen=True):
    """The states that a label may have: one, or more where the rules leave it open; and the label that stood before it."""

    states: frozenset[State]
    standing: str | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The two waits, in milliseconds: how long labels and predictions wait for each other, and how long an event is known."""

    label_wait_ms: int
    event_known_ms: int


def expected_states(labels: Sequence[LabelRecord], predicted_at: int | None, found: Mapping[Place, Found], rules: Rules) -> list[Expected]:
    """Return what each label's state must be.

    The first label of an event is trained, one like the label that stands is a duplicate, and so is a message that was learned or a
    duplicate before (the same id and label); any other label is corrected and stands from then on. A label that came too long after the
    prediction is expired, unless it is a duplicate.

    The rules leave open what depends on when the stack read a record: a label may be an orphan if it was declared one no sooner than
    the wait after it came; and what comes after an event may have been forgotten. There the state that was found counts.

    Args:
        labels: all labels of one event, in the order in which they lie in their partition.
        predicted_at: the time of the event's first prediction, epoch ms; None if it has none.
        found: the states that were announced.
        rules: the waits.

    >>> labels = [LabelRecord((0, n), 7, label, 100) for n, label in enumerate("aab")]
    >>> rules = Rules(label_wait_ms=1000, event_known_ms=5000)
    >>> [(*e.states, e.standing) for e in expected_states(labels, 50, {}, rules)]
    [(<State.TRAINED: 'trained'>, None), (<State.DUPLICATE: 'duplicate'>, 'a'), (<State.CORRECTED: 'corrected'>, 'a')]
    """
    standing: str | None = None
    messages: set[tuple[str, str | None]] = set()
    result = []
    for label in labels:
        state = found.get(label.place)
        repeated = label.feedback_id is not None and (label.feedback_id, label.label) in messages
        expected = _expected(label, label.label if repeated else standing, predicted_at, state, rules)
        result.append(msgspec.structs.replace(expected, standing=standing) if repeated else expected)
        if label.feedback_id is not None and _is(expected, state, LEARNED | {State.DUPLICATE}):
            messages.add((label.feedback_id, label.label))
        if _is(expected, state, LEARNED):
            standing = label.label
    return result


def _expected(label: LabelRecord, standing: str | None, predicted_at: int | None, found: Found | None, rules: Rules) -> Expected:
    if label.refused:
        return Expected(frozenset({State.REJECTED}))
    if predicted_at is None:
        return Expected(frozenset({State.WAITING, State.ORPHAN}))
    state = _by_rule(label, standing, predicted_at, rules)
    states = frozenset({state})
    if found and found.time - predicted_at >= rules.event_known_ms:
        states = _ANY_FINAL
    elif found and found.state is State.ORPHAN and found.time - label.time >= rules.label_wait_ms:
        states |= {State.ORPHAN}
    return Expected(states, standing)


def _by_rule(label: LabelRecord, standing: str | None, predicted_at: int, rules: Rules) -> State:
    if label.label == standing:
        return State.DUPLICATE
    if label.time - predicted_at > rules.label_wait_ms:
        return State.EXPIRED
    return State.TRAINED if standing is None else State.CORRECTED


def _is(expected: Expected, found: Found | None, states: AbstractSet[State]) -> bool:
    """Return whether the label is in one of the states: by what was found where it is open, else by the rule."""
    if found and found.state in expected.states:
        return found.state in states
    return bool(expected.states & states)
