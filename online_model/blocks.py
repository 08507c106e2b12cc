"""How the arrays of the kernels lie in memory: blocks of sections, and the addresses of these in one array.

A kernel takes a directory of addresses instead of a dozen arrays, and uses plain pointers: numba takes 60 ns to unpack an array
argument, and counts references to arrays wherever they are handed on, which tripled the time of a prediction (both measured).
For the type checker a pointer is an array; there is no more to it than reading and writing items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import numpy_support

from online_model.compiled import compiled

Directory = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


_ALIGNMENT = 64  # a cache line
_STAGGER = 11 * _ALIGNMENT
"""Sections of sizes that are powers of two would all begin in the same few places of the first-level cache, and drive each other out."""


class Block:
    """Arrays of fixed sizes, zeroed, one after the other.

    Args:
        sections: number of items and type of each.

    Attributes:
        arrays: the sections as arrays.
        directory: address and number of items of each section, for the kernels; valid as long as the block lives.
        size: bytes in all.
    """

    def __init__(self, sections: Sequence[tuple[int, Any]]) -> None:
        sizes = [-(-count * np.dtype(dtype).itemsize // _ALIGNMENT) * _ALIGNMENT + _STAGGER for count, dtype in sections]
        self.size = sum(sizes)
        raw = np.zeros(self.size + _ALIGNMENT, np.uint8)
        at = -raw.ctypes.data % _ALIGNMENT
        self.arrays: list[npt.NDArray[Any]] = []
        self.directory: Directory = np.empty(2 * len(sizes), np.int64)
        for number, ((count, dtype), size) in enumerate(zip(sections, sizes, strict=True)):
            self.arrays.append(raw[at : at + count * np.dtype(dtype).itemsize].view(dtype))
            self.directory[2 * number] = raw.ctypes.data + at
            self.directory[2 * number + 1] = count
            at += size


@intrinsic
def _address_to_pointer(_context: Any, _address: Any, item: Any) -> Any:
    """Return an address as a pointer to items of a type."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], _context.get_value_type(signature.return_type))

    return types.CPointer(item.dtype)(types.int64, item), generate  # type: ignore[no-untyped-call]  # numba's


_pointer: Any = _address_to_pointer  # its first argument is numba's own


@intrinsic
def _pointer_to_pointer(_context: Any, at: Any, item: Any) -> Any:
    """Return a pointer to the same place, to items of another type."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _context.get_value_type(signature.return_type))

    return types.CPointer(item.dtype)(at, item), generate  # type: ignore[no-untyped-call]  # numba's


_recast: Any = _pointer_to_pointer

array_at: Any = numpy_support.carray
"""Return an array of a shape at a pointer; for the type checker, too, ours are none of ctypes'."""


@intrinsic
def _fetch_early(_context: Any, at: Any, place: Any) -> Any:
    """Ask for the cache line of an item, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item = builder.gep(arguments[0], [arguments[1]], source_etype=context.get_data_type(signature.args[0].dtype))
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), ir.FunctionType(ir.VoidType(), [byte, word, word, word]))
        builder.call(function, [builder.bitcast(item, byte), word(0), word(3), word(1)])  # to read, into all levels, data
        return context.get_dummy_value()

    return types.none(at, place), generate


fetch_early: Any = _fetch_early


@compiled
def as_floats(at: Hashes) -> Floats:
    """Return a pointer to the same memory as float32."""
    found: Floats = _recast(at, np.float32)
    return found


@compiled
def as_ints(at: Hashes) -> Ints:
    """Return a pointer to the same memory as int32."""
    found: Ints = _recast(at, np.int32)
    return found


@compiled
def floats(directory: Directory, number: int) -> Floats:
    """Return a section of float32, to be indexed only."""
    at: Floats = _pointer(directory[2 * number], np.float32)
    return at


@compiled
def doubles(directory: Directory, number: int) -> Doubles:
    """Return a section of float64, to be indexed only."""
    at: Doubles = _pointer(directory[2 * number], np.float64)
    return at


@compiled
def ints(directory: Directory, number: int) -> Ints:
    """Return a section of int32, to be indexed only."""
    at: Ints = _pointer(directory[2 * number], np.int32)
    return at


@compiled
def longs(directory: Directory, number: int) -> Longs:
    """Return a section of int64, to be indexed only."""
    at: Longs = _pointer(directory[2 * number], np.int64)
    return at


@compiled
def hashes(directory: Directory, number: int) -> Hashes:
    """Return a section of uint64, to be indexed only."""
    at: Hashes = _pointer(directory[2 * number], np.uint64)
    return at
