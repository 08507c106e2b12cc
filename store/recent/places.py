"""Where a page of the index ended, as an opaque string for clients. It holds while predictions come and go."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

from store.cursor import InvalidCursor

_VERSION = 2
_decode = msgspec.msgpack.Decoder(tuple[int, int, float | None]).decode
_encode = msgspec.msgpack.Encoder().encode


class Place(NamedTuple):
    """The last row shown: its id, and its score if the rows are ranked by one."""

    id: int
    score: float | None = None

    def text(self) -> str:
        """Return the place for a client.

        >>> Place.parse(Place(5, 0.25).text())
        Place(id=5, score=0.25)
        """
        return base64.urlsafe_b64encode(_encode((_VERSION, self.id, self.score))).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Return the place in `text`, or None if it is a cursor of another kind (`store.cursor`).

        Raises:
            InvalidCursor: if it is none at all.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            data = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise InvalidCursor("not a cursor that this service gave out") from error
        try:
            version, row_id, score = _decode(data)
        except msgspec.DecodeError:
            return None
        return cls(row_id, score) if version == _VERSION and abs(row_id) < 2**63 else None
