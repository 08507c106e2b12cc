"""Server-sent events as bytes, and the ids by which a client goes on where it was. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

ALIVE = b": alive\n\n"
"""A comment: no event, but whoever stands in between sees that the connection is used."""

_encode = msgspec.json.Encoder().encode


class EventId(NamedTuple):
    """How far a client has come: a position in the order in which predictions reached one Redis."""

    position: int
    generation: str

    def text(self) -> str:
        """Return it as an event's id.

        >>> EventId.parse(EventId(5, "a1").text())
        EventId(position=5, generation='a1')
        """
        return f"{self.position}.{self.generation}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Return the id in `text`, None if it is none of ours."""
        position, dot, generation = text.partition(".")
        if not dot or not position.isascii() or not position.isdigit() or len(position) > 19:
            return None
        return cls(int(position), generation)


def event(kind: str, data: msgspec.Struct | bytes, event_id: EventId) -> bytes:
    r"""Return an event; data that is bytes is JSON on one line already.

    >>> event("dropped", b'{"reason":"slow"}', EventId(5, "a1"))
    b'id: 5.a1\nevent: dropped\ndata: {"reason":"slow"}\n\n'
    """
    body = data if isinstance(data, bytes) else _encode(data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.text().encode(), kind.encode(), body)
