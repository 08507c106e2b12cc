"""Reads labelled texts from JSON Lines and CSV files, gzipped or not, line by line and in the file's order."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from schemas.records import EpochMs, Label, Meta, Weight

MAX_TEXT_BYTES = 1_000_000
"""Kafka refuses records of more than 1 MiB by default; the rest of the record needs room too."""

_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_CSV_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_OWN_FIELDS = frozenset({"text", "label", "ts"})

csv.field_size_limit(2**31 - 1)


class SourceError(Exception):
    """The file as a whole cannot be replayed; whoever named it must act."""


class Row(msgspec.Struct, frozen=True):
    """A text, its label where the file knows one, its time, and the file's other scalar fields."""

    text: str
    label: str | None = None
    ts: int | None = None
    meta: Meta = {}


class BadLine(msgspec.Struct, frozen=True):
    """A line that holds no usable row, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        """Return the line for a message.

        >>> print(BadLine(3, "no text"))
        line 3: no text
        """
        return f"line {self.number}: {self.reason}"


def read_rows(path: Path) -> Iterator[Row | BadLine]:
    """Yield the rows of the file in order; a line that has no usable row comes as `BadLine`.

    JSON Lines have one object a line with `text` and optionally `label`, `ts` (epoch milliseconds or ISO 8601) and other
    fields; CSV has a header with these names. Empty lines are passed over. Nothing is opened before the first row is asked for.

    Raises:
        SourceError: if the file is missing, of an unknown kind, unreadable, or a CSV file without a `text` column.
    """
    suffixes = [s.lower() for s in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if packed else suffixes)[-1:]
    if not kind or kind[0] not in (*_JSON_SUFFIXES, *_CSV_SEPARATORS):
        raise SourceError(f"{path}: unknown kind of file; expected .jsonl or .csv, optionally with .gz behind it")
    if not path.is_file():
        raise SourceError(f"{path}: no such file")
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            separator = _CSV_SEPARATORS.get(kind[0])
            binary = cast("BinaryIO", stream)
            yield from _json_rows(binary) if separator is None else _csv_rows(path, binary, separator)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error


def _json_rows(stream: BinaryIO) -> Iterator[Row | BadLine]:
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            fields = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except UnicodeDecodeError:
            yield BadLine(number, "not UTF-8")
        except (msgspec.DecodeError, RecursionError) as error:
            yield BadLine(number, f"not JSON: {error}")
        else:
            yield to_row(number, fields) if isinstance(fields, dict) else BadLine(number, "not a JSON object")


def _csv_rows(path: Path, stream: BinaryIO, separator: str) -> Iterator[Row | BadLine]:
    lines = (line.decode(errors="surrogateescape").removeprefix("\ufeff") for line in stream)
    reader = csv.DictReader(lines, delimiter=separator, restkey="\0", strict=True)
    try:
        if "text" not in (reader.fieldnames or ()):
            raise SourceError(f"{path}: its first line names no column `text`, but {', '.join(reader.fieldnames or ()) or 'nothing'}")
        "".join(reader.fieldnames or ()).encode()
        for fields in reader:
            if "\0" in fields:
                yield BadLine(reader.line_num, "more cells than the first line names")
            else:
                yield to_row(reader.line_num, {k: v for k, v in fields.items() if v})
    except csv.Error as error:
        raise SourceError(f"{path}: line {reader.line_num}: {error}") from error
    except UnicodeEncodeError as error:
        raise SourceError(f"{path}: its first line is not UTF-8") from error


def to_row(number: int, fields: Mapping[str, object]) -> Row | BadLine:
    """Return the row in the fields of line `number`: lists and objects are left out, numbers as labels become text.

    >>> to_row(1, {"text": "hi", "label": 4, "split": "test", "ts": "1970-01-01T00:00:01Z"})
    Row(text='hi', label='4', ts=1000, meta={'split': 'test'})
    >>> to_row(2, {"label": "a"})
    BadLine(number=2, reason='has no text')
    """
    text = fields.get("text")
    if text is None:
        return BadLine(number, "has no text")
    if not isinstance(text, str):
        return BadLine(number, f"its text is of type {type(text).__name__}")
    try:
        if len(text.encode()) > MAX_TEXT_BYTES:
            return BadLine(number, f"its text has more than {MAX_TEXT_BYTES} bytes")
        label, ts = _label(fields.get("label")), _time(fields.get("ts"))
        return Row(text, label, ts, _meta(fields))
    except UnicodeEncodeError:
        return BadLine(number, "not UTF-8")
    except ValueError as error:
        return BadLine(number, str(error))


def weight_of(row: Row) -> float:
    """Return the row's field `weight`, 1 if it has none; CSV knows only text.

    Raises:
        ValueError: if it is no weight.

    >>> weight_of(Row("hi", meta={"weight": "2.5"}))
    2.5
    """
    value = row.meta.get("weight")
    if value is None:
        return 1.0
    try:
        return msgspec.convert(float(value), Weight)
    except ValueError as error:
        raise ValueError(f"its weight is none (above 0, at most 1000): {value!r}") from error


def _label(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float):
        raise ValueError(f"its label is of type {type(value).__name__}")
    label = str(value)
    label.encode()
    return msgspec.convert(label, Label)


def _time(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not value.isdecimal():
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise TypeError("neither text nor number")
        return msgspec.convert(int(value), EpochMs)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"its ts is no time (epoch milliseconds or ISO 8601): {error}") from error


def _meta(fields: Mapping[str, object]) -> Meta:
    """Return the scalar fields that are not ours; what JSON or Kafka's readers could not give back is left out."""
    meta: Meta = {}
    for name, value in fields.items():
        if name in _OWN_FIELDS:
            continue
        if isinstance(value, str):
            value.encode()
            meta[name] = value
        elif isinstance(value, float):
            if math.isfinite(value):
                meta[name] = value
        elif value is None or (isinstance(value, int) and -(2**63) <= value < 2**63):
            meta[name] = value
    return meta
