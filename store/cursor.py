"""Where a page of predictions ended, as an opaque string for clients."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

_VERSION = 1
_decode = msgspec.msgpack.Decoder(tuple[int, int, bytes]).decode
_LATEST = 2**53


class InvalidCursor(ValueError):
    """The string is no cursor of ours."""


class Cursor(NamedTuple):
    """The last prediction looked at: its time (epoch ms) and its event id in UTF-8. Orders as the index does."""

    time: int
    event_id: bytes

    def text(self) -> str:
        """Return the cursor for a client.

        >>> Cursor.parse(Cursor(5, b"a").text())
        Cursor(time=5, event_id=b'a')
        """
        return base64.urlsafe_b64encode(msgspec.msgpack.encode((_VERSION, self.time, self.event_id))).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor in `text`.

        Raises:
            InvalidCursor: if it is none.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            version, time, event_id = _decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError) as error:
            raise InvalidCursor("not a cursor that this service gave out") from error
        if version != _VERSION or not 0 <= time < _LATEST:
            raise InvalidCursor("a cursor of another version; start from the first page")
        return cls(time, event_id)
