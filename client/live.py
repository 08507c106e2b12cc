"""Reads server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) from lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from client.types import LiveEvent


def events(lines: Iterable[str]) -> Iterator[LiveEvent]:
    r"""Yield the events in the lines of a stream; comments, which keep a connection alive, are passed over.

    >>> [event] = events(["id: 7", "event: counts", 'data: {"total":', "data: 3}", "", ": alive", ""])
    >>> event.kind, event.id, event.data
    ('counts', '7', {'total': 3})
    """
    kind, data, last_id = "message", list[str](), None
    for line in lines:
        if not line:
            if data:
                yield LiveEvent(kind=kind, id=last_id, data=msgspec.json.decode("\n".join(data)))
            kind, data = "message", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            last_id = value
