"""Frames: many rows in one value, so that they cross between the JVM and Python in one call.

A row by itself costs several calls, each of which takes the interpreter's lock and may have to wait for it, and an exception
at the end of what it gave. So a Java operator puts rows together, Python takes them apart and gives back one value, and
another Java operator takes that apart (`stream/operators.py`).

A row in a frame is its fields of fixed size, big-endian, with the length of each other field in its place (-1: null), and
then these other fields. Columns are named as in `struct`: `i` INT, `q` BIGINT (0: null), `s` BYTES or STRING.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.common import TypeInformation, Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway

from schemas.parsing import encode
from stream.operators import java_operator
from stream.rows import BYTES, OUT

FRAME_BYTES = 512 * 1024
"""A frame is not longer, unless one row is."""

_OUT_HEAD = struct.Struct(">6i")
_NULL = -1


class Frames:
    """Frames of rows with certain columns."""

    def __init__(self, columns: str) -> None:
        self._columns = columns
        self._head = struct.Struct(">" + columns.replace("s", "i"))
        self._variable = [place for place, column in enumerate(columns) if column == "s"]

    def gather(self, rows: DataStream, *, most_rows: int, wait_ms: int, uid: str) -> DataStream:
        """Return frames of at most `most_rows` rows; none waits for others longer than `wait_ms`. Retractions are dropped."""
        return java_operator(("Gather",), rows, BYTES, uid, self._columns, most_rows, FRAME_BYTES, wait_ms, False)

    def gather_by_key(self, rows: DataStream, *, most_rows: int, wait_ms: int, uid: str) -> KeyedStream:
        """Return the same for each value of the first column, a STRING, keyed by it."""
        kind = Types.ROW([Types.STRING(), BYTES])
        return _keyed(java_operator(("Gather",), rows, kind, uid, self._columns, most_rows, FRAME_BYTES, wait_ms, True), BYTES)

    def rows(self, frame: bytes) -> Iterator[list[Any]]:
        """Yield the rows of a frame as lists; strings come as their UTF-8."""
        at, end, head, variable = 0, len(frame), self._head, self._variable
        while at < end:
            row = list(head.unpack_from(frame, at))
            at += head.size
            for place in variable:
                length = row[place]
                if length == _NULL:
                    row[place] = None
                else:
                    row[place] = frame[at : at + length]
                    at += length
            yield row


SOURCE = Frames("siqq")
"""Of records as they come from a topic: value, partition, offset, Kafka's time."""


TRACED = Frames("siqqs")
"""The same with the header `traceparent`."""


def framed(
    topic: str, key: str, record: msgspec.Struct, *, task: str | None = None, label: str | None = None, traceparent: str | None = None
) -> bytes:
    """Return a record for `topic` as a row of a frame for `scatter`."""
    headers = [None if header is None else header.encode() for header in (task, label, traceparent)]
    fields = [topic.encode(), key.encode(), encode(record), *headers]
    return _OUT_HEAD.pack(*[_NULL if field is None else len(field) for field in fields]) + b"".join(filter(None, fields))


def key_by_columns(rows: DataStream, kind: TypeInformation, columns: int, *, uid: str) -> KeyedStream:
    """Return rows of this kind, keyed by their first columns joined by line breaks. Retractions are dropped.

    `DataStream.key_by` would call Python for each row, to ask for its key.
    """
    return _keyed(java_operator(("AddKey",), rows, Types.ROW([Types.STRING(), kind]), uid, columns), kind)


def scatter(frames: DataStream, *, uid: str) -> DataStream:
    """Return the rows (`rows.OUT`) of frames that are made of `framed` rows."""
    return java_operator(("Scatter",), frames, OUT, uid, len(OUT.get_field_names()))


def _keyed(pairs: DataStream, kind: TypeInformation) -> KeyedStream:
    """Return rows of key and value as PyFlink's keyed operators want them."""
    selector = get_gateway().jvm.KeyByKeySelector()
    keyed = pairs._j_data_stream.keyBy(selector, Types.ROW([Types.STRING()]).get_java_type_info())  # noqa: SLF001 - PyFlink has no accessor
    return KeyedStream(keyed, kind, pairs)
