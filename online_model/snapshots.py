"""Snapshots: a model's state as safetensors bytes with a checksum over everything. What is corrupt or foreign is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np

from online_model import tensors
from online_model.characters import UNICODE
from online_model.drift import Watch
from online_model.prequential import Evaluation
from online_model.tensors import TensorsError
from schemas.log import Origin
from schemas.records import Role, Trial

FORMAT = 3
"""Since 3 a snapshot holds several lines; since 2 it names models by their specification; 1 held the first model, which is no more."""

READABLE = (1, 2, 3)
FIRST_MODEL = ""
"""Stands for the specification of the first model, which had none."""

KEY = "millrace"  # the one key of the metadata: safetensors writes several in random order

Arrays = tensors.Arrays


class SnapshotError(Exception):
    """The bytes are no snapshot that this version can read; take an older snapshot. The message says what is wrong."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the first model."""

    memory_mib: int
    learning_rate: float


class StoredLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line in a snapshot; its arrays have the line's number, from 0, and a dot before their names.

    Attributes:
        name: the line's name.
        role: what it is watched for; null for the one that serves, which is the first.
        origin: what it began with.
        model: specification of its model.
        classes: the classes in order of appearance.
        trial: how it compares with the one that serves; null for that one.
    """

    name: str
    role: Role | None = None
    origin: Origin = Origin()
    model: str
    classes: list[str]
    trial: Trial | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot says beside its arrays.

    Attributes:
        format: version of this format.
        task: the model's task.
        seq: number of the last log entry applied.
        updated_at: time of the last label applied, epoch ms.
        unicode: version of the Unicode database by which texts were taken apart; absent in format 1.
        lines: the line that serves, and those that are watched.
        quality: the prequential evaluation.
        drift: what watches its errors; absent in older snapshots.
        sha256: checksum over the arrays and the rest of the header, hexadecimal.
    """

    format: int = FORMAT
    task: str
    seq: int
    updated_at: int
    unicode: str | msgspec.UnsetType = msgspec.UNSET
    lines: list[StoredLine]
    quality: Evaluation
    drift: Watch | msgspec.UnsetType = msgspec.UNSET
    sha256: str = ""


class OldHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot of one line, in formats 1 and 2, says beside its arrays.

    Attributes:
        format: version of the format.
        task: the model's task.
        line: the model's line.
        seq: number of the last log entry applied.
        updated_at: time of the last label applied, epoch ms.
        settings: parameters of the model in format 1.
        model: specification of the model; absent in format 1 if it was the own engine.
        unicode: version of the Unicode database by which texts were taken apart; absent in format 1.
        classes: the classes in order of appearance.
        quality: the prequential evaluation.
        drift: what watches its errors; absent in older snapshots.
        sha256: checksum over the arrays and the rest of the header, hexadecimal.
    """

    format: int
    task: str
    line: str
    seq: int
    updated_at: int
    settings: ModelSettings | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    unicode: str | msgspec.UnsetType = msgspec.UNSET
    classes: list[str]
    quality: Evaluation
    drift: Watch | msgspec.UnsetType = msgspec.UNSET
    sha256: str = ""


AnyHeader = Header | OldHeader


def encode(header: Header, arrays: Arrays) -> bytes:
    """Return the snapshot's bytes: the same for the same state."""
    signed = msgspec.structs.replace(header, sha256=_checksum(header, arrays))
    return tensors.write(arrays, {KEY: msgspec.json.encode(signed).decode()})


def decode(data: bytes) -> tuple[Header, Arrays]:
    """Return what `encode` was given; a snapshot of an older format as it would be written now, with the format that it has.

    Raises:
        SnapshotError: if a single bit differs from what was written, or this version cannot read it.
    """
    header = _header(data)
    try:
        arrays = tensors.read(data)
    except TensorsError as error:
        raise SnapshotError(str(error)) from error
    if header.sha256 != _checksum(header, arrays):
        raise SnapshotError("the checksum does not fit: the bytes are corrupt")
    return (header, arrays) if isinstance(header, Header) else _upgraded(header, arrays)


def _upgraded(old: OldHeader, arrays: Arrays) -> tuple[Header, Arrays]:
    specification = FIRST_MODEL if old.model is msgspec.UNSET else old.model
    header = Header(
        format=old.format,
        task=old.task,
        seq=old.seq,
        updated_at=old.updated_at,
        unicode=old.unicode,
        lines=[StoredLine(name=old.line, model=specification, classes=old.classes)],
        quality=old.quality,
        drift=old.drift,
    )
    return header, prefixed(0, arrays)


def prefixed(number: int, arrays: Arrays) -> Arrays:
    """Return a line's arrays under their names in a snapshot."""
    return {f"{number}.{name}": array for name, array in arrays.items()}


def arrays_of(number: int, arrays: Arrays) -> Arrays:
    """Return the arrays of a line of a snapshot under their own names."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def must_be_computable(header: Header) -> None:
    """Check that this version can go on with the snapshot's models.

    Raises:
        ValueError: if it computes them no more, or otherwise; the log makes new ones.
    """
    if any(line.model == FIRST_MODEL for line in header.lines):
        raise ValueError(f"format {header.format} holds the first model, which this version cannot go on with")
    if header.unicode not in (msgspec.UNSET, UNICODE):
        raise ValueError(f"its texts were taken apart by Unicode {header.unicode}, here it is {UNICODE}")


def _header(data: bytes) -> AnyHeader:
    try:
        text = tensors.metadata_of(data)[KEY]
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if version not in READABLE:
            raise SnapshotError(f"format {version!r}; this version reads {READABLE}")
        header = _decoded(text, version)
    except TensorsError as error:
        raise SnapshotError(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"unreadable header: {error}") from error
    except KeyError as error:
        raise SnapshotError(f"no snapshot of Millrace: {error} is missing in its header") from error
    if msgspec.json.encode(header).decode() != text:
        raise SnapshotError("the header is not as it was written")
    return header


def _decoded(text: str, version: object) -> AnyHeader:
    return msgspec.json.decode(text, type=Header) if version == FORMAT else msgspec.json.decode(text, type=OldHeader)


def _checksum(header: AnyHeader, arrays: Arrays) -> str:
    return checksum(msgspec.json.encode(msgspec.structs.replace(header, sha256="")), arrays)


def checksum(prefix: bytes, arrays: Arrays) -> str:
    """Return the SHA-256 over `prefix` and the arrays' names, types, shapes and bytes, hexadecimal."""
    digest = hashlib.sha256(prefix)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()
