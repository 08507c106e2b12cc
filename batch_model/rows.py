"""A text with its label, as training takes it."""

from __future__ import annotations

import msgspec


class LabelledText(msgspec.Struct, frozen=True):
    """A text and the label that is known of it.

    Attributes:
        text: the text as it was sent.
        label: its label, after corrections.
        weight: of the label's loss, as the sender gave it.
        time: milliseconds since 1970 at which the label was learned; 0 if that is not known.
    """

    text: str
    label: str
    weight: float = 1.0
    time: int = 0
