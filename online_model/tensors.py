"""Safetensors files, written and read piece by piece: a predicting thread waits for the interpreter as long as one copy takes.

The format is that of https://github.com/huggingface/safetensors, and the bytes are those that its own library writes. That one copies
a file as a whole, twice, and lets no other thread run meanwhile; here nothing is copied in pieces larger than `PIECE_BYTES`,
and what is read are views into the file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

PIECE_BYTES = 1024 * 1024
METADATA = "__metadata__"

Arrays = dict[str, npt.NDArray[Any]]
T = TypeVar("T")

_TYPES = ("U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8", "BOOL")
"""Types in the order in which their tensors lie in a file, largest items first."""

_KINDS = {"U": "u", "I": "i", "F": "f"}
_DTYPES = {name: np.dtype("?" if name == "BOOL" else f"<{_KINDS[name[0]]}{int(name[1:]) // 8}") for name in _TYPES}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 8


class TensorsError(Exception):
    """The bytes are no safetensors file, or hold something that this version does not read."""


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def write(arrays: Arrays, metadata: dict[str, str]) -> bytes:
    """Return the arrays as a safetensors file; the same bytes for the same arrays and one key of metadata."""
    placed = sorted(arrays.items(), key=lambda item: (_TYPES.index(_NAMES[item[1].dtype]), item[0]))
    listed: dict[str, Any] = {METADATA: metadata}
    at = 0
    for name, array in placed:
        listed[name] = _Tensor(_NAMES[array.dtype], list(array.shape), (at, at + array.nbytes))
        at += array.nbytes
    header = msgspec.json.encode(listed)
    header += b" " * (-len(header) % _ALIGNMENT)
    file = io.BytesIO()
    file.write(len(header).to_bytes(8, "little") + header)
    for _, array in placed:
        for piece in _pieces(np.ascontiguousarray(array)):
            file.write(piece)
    return file.getvalue()  # no copy


def _pieces(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    data = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return what the header of a file lists, and where the tensors begin."""
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or end > len(data):
        raise TensorsError(f"no safetensors file: {len(data)} bytes end before its header does")
    try:
        return msgspec.json.decode(data[8:end], type=dict[str, Any]), end
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TensorsError(f"unreadable header: {error}") from error


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata of a file, empty if it has none.

    Raises:
        TensorsError: if it is no such file.
    """
    return _converted(_header(data)[0].get(METADATA, {}), dict[str, str])


def read(data: bytes) -> Arrays:
    """Return the arrays of a file, as views that cannot be written to.

    Raises:
        TensorsError: if it is none: every byte after the header must belong to exactly one tensor.
    """
    listed, begin = _header(data)
    listed.pop(METADATA, None)
    arrays: Arrays = {}
    at = begin
    for name, tensor in sorted(_converted(listed, dict[str, _Tensor]).items(), key=lambda item: item[1].data_offsets):
        arrays[name] = array = _view(data, name, tensor, begin)
        if tensor.data_offsets[0] + begin != at:
            raise TensorsError(f"tensor {name!r} does not begin where the one before it ends")
        at += array.nbytes
    if at != len(data):
        raise TensorsError(f"{len(data) - at} bytes belong to no tensor")
    return arrays


def _view(data: bytes, name: str, tensor: _Tensor, begin: int) -> npt.NDArray[Any]:
    dtype, (start, end) = _DTYPES.get(tensor.dtype), tensor.data_offsets
    if dtype is None or min(tensor.shape, default=0) < 0:
        raise TensorsError(f"tensor {name!r} has type {tensor.dtype} and shape {tensor.shape}")
    count = math.prod(tensor.shape)
    if start < 0 or end - start != count * dtype.itemsize or begin + end > len(data):
        raise TensorsError(f"tensor {name!r} lies at {start} to {end}: that does not fit its shape, or the file")
    try:
        return np.frombuffer(data, dtype, count, begin + start).reshape(tensor.shape)
    except (ValueError, OverflowError) as error:  # an empty tensor may have any shape
        raise TensorsError(f"tensor {name!r} has the impossible shape {tensor.shape}") from error


def _converted(listed: object, kind: type[T]) -> T:
    try:
        return msgspec.convert(listed, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TensorsError(f"no safetensors file: {error}") from error
