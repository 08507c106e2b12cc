"""How much memory an object takes with everything that it refers to."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np

_NOT_ITS_OWN = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""What a model refers to, but shares with the whole program."""


def reachable(root: object) -> Iterator[object]:
    """Yield the object and every object that it refers to, however far, each once; no classes, modules and functions."""
    seen = {id(root)}
    found = [root]
    while found:
        thing = found.pop()
        yield thing
        for other in (*gc.get_referents(thing), *_passed_over(thing)):
            if id(other) not in seen and not isinstance(other, _NOT_ITS_OWN):
                seen.add(id(other))
                found.append(other)


def _passed_over(thing: object) -> Iterable[object]:
    """Return what the garbage collector does not see: keys of a dict that are all texts, and the array that a view looks into."""
    if isinstance(thing, dict):
        return dict.keys(thing)
    return (thing.base,) if isinstance(thing, np.ndarray) and thing.base is not None else ()


def memory_bytes(root: object) -> int:
    """Return the bytes of the object and of everything that it refers to: Python objects, arrays with their data.

    An object's bytes are what `sys.getsizeof` says. Memory that native code allocates for itself does not count, and the allocator's
    own losses do not. An array's data count in full, also where the system has not yet given memory to pages that are still zero.

    >>> memory_bytes([bytes(1000), bytes(1000)]) in range(2100, 2300)
    True
    >>> memory_bytes([np.zeros(1000)[:3], np.ones(1000)[:3]]) in range(16_000, 17_000)
    True
    """
    return sum(sys.getsizeof(thing) for thing in reachable(root))
