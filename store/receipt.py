"""A label's receipt: what became of the labels of one event. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.records import LabelState, Score, State

_CHANGES_NOTHING = frozenset({State.DUPLICATE, State.REJECTED})
_LEARNED = frozenset({State.TRAINED, State.CORRECTED})


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an event's labels.

    Attributes:
        event_id: the event.
        task: the task whose model it teaches.
        state: state of the label that counts: the newest one, passing over duplicates and rejected ones if there is another.
        seq: place in the model log that absorbed that label; null if none did (yet).
        label: that label; null if it could not be read, or is the verdict `wrong`.
        served: the label that had been served for the event; null if the model knew no class, or nobody had asked it.
        score: how the served prediction fared against that label; null if the label scored nothing: it was not learned, the event
            was scored before (it is scored once, by its first label or verdict), or nobody had asked the model.
        time: when it came into that state, epoch ms.
        history: all states of all labels and verdicts of the event, oldest first, at most the newest 20.
    """

    event_id: str
    task: str
    state: State
    seq: int | None
    label: str | None
    served: str | None
    score: Score | None
    time: int
    history: list[LabelState]

    @classmethod
    def of(cls, history: Sequence[LabelState]) -> Receipt:
        """Return the receipt of a history, which is in order and not empty.

        Raises:
            ValueError: if the history is empty.
        """
        if not history:
            raise ValueError("a receipt needs at least one state")
        now = _now(history)
        current = [state for state in now if state.state not in _CHANGES_NOTHING] or now
        last = current[-1]
        return cls(
            event_id=last.event_id or "",
            task=last.task or "",
            state=last.state,
            seq=last.seq,
            label=last.label,
            served=last.served,
            score=last.score,
            time=last.time,
            history=list(history),
        )

    @property
    def truth(self) -> str | None:
        """Return the label that the model has learned for the event, if it has."""
        learned = [state.label for state in self.history if state.state in _LEARNED]
        return learned[-1] if learned else None

    @property
    def marked_wrong(self) -> bool:
        """Whether a verdict `wrong` stands: no label has come since, be it one that was known. A message sent again is none."""
        marked = False
        messages: set[tuple[str | None, str | None]] = set()
        for state in _now(self.history):
            message = (state.feedback.feedback_id, state.label)
            is_new = state.feedback.feedback_id is None or message not in messages
            messages.add(message)
            if state.state is State.MARKED:
                marked = True
            elif state.state in _LEARNED or (state.state is State.DUPLICATE and state.label is not None and is_new):
                marked = False
        return marked


def _now(history: Sequence[LabelState]) -> list[LabelState]:
    """Return the last state of each label or verdict, in their order."""
    return list({(state.feedback.at.partition, state.feedback.at.offset): state for state in history}.values())
