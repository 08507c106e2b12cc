"""How the arrays of the kernels lie in memory: blocks of sections, and the addresses of these in one array.

A kernel takes a directory of addresses instead of a dozen arrays: numba takes 60 ns to unpack an array argument and 110 ns to
slice and view one (both measured), and a whole prediction takes two microseconds. A view by address is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from online_model.compiled import compiled

Directory = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_ALIGNMENT = 64  # a cache line


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
        sizes = [-(-count * np.dtype(dtype).itemsize // _ALIGNMENT) * _ALIGNMENT for count, dtype in sections]
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
def _address_to_pointer(_context: Any, _address: Any) -> Any:
    """Return an address as a pointer, for `carray`."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


_pointer: Any = _address_to_pointer  # its first argument is numba's own


@compiled
def floats(directory: Directory, number: int) -> Floats:
    """Return a section of float32."""
    return carray(_pointer(directory[2 * number]), (directory[2 * number + 1],), np.float32)


@compiled
def doubles(directory: Directory, number: int) -> Doubles:
    """Return a section of float64."""
    return carray(_pointer(directory[2 * number]), (directory[2 * number + 1],), np.float64)


@compiled
def ints(directory: Directory, number: int) -> Ints:
    """Return a section of int32."""
    return carray(_pointer(directory[2 * number]), (directory[2 * number + 1],), np.int32)


@compiled
def longs(directory: Directory, number: int) -> Longs:
    """Return a section of int64."""
    return carray(_pointer(directory[2 * number]), (directory[2 * number + 1],), np.int64)


@compiled
def hashes(directory: Directory, number: int) -> Hashes:
    """Return a section of uint64."""
    return carray(_pointer(directory[2 * number]), (directory[2 * number + 1],), np.uint64)
