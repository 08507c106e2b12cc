"""The W3C trace context of a record: the header `traceparent` (https://www.w3.org/TR/trace-context/). Pure."""

from __future__ import annotations

import re

TRACEPARENT = "traceparent"
"""The header's name."""

_REST = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_KNOWN = re.compile(rb"00" + _REST)
_LATER = re.compile(rb"(?!00|ff)[0-9a-f]{2}(" + _REST + rb")(?:-.*)?", re.DOTALL)


def valid_traceparent(value: bytes | None) -> str | None:
    """Return a header's value if it is valid, else None; of a version later than 00, only what version 00 knows, as that.

    >>> valid_traceparent(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    >>> valid_traceparent(b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    >>> valid_traceparent(b"00-00000000000000000000000000000000-00f067aa0ba902b7-01") is None
    True
    """
    if value is None:
        return None
    if _KNOWN.fullmatch(value):
        return value.decode()
    later = _LATER.fullmatch(value)
    return None if later is None else "00" + later[1].decode()
