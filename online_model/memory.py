"""How much memory an object takes with everything that it refers to."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType

_NOT_ITS_OWN = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""What a model refers to, but shares with the whole program."""


def reachable(root: object) -> Iterator[object]:
    """Yield the object and every object that it refers to, however far, each once; no classes, modules and functions."""
    seen = {id(root)}
    found = [root]
    while found:
        thing = found.pop()
        yield thing
        # The collector passes over a dict's keys where all of them are texts, which refer to nothing.
        keys = dict.keys(thing) if isinstance(thing, dict) else ()
        for other in (*gc.get_referents(thing), *keys):
            if id(other) not in seen and not isinstance(other, _NOT_ITS_OWN):
                seen.add(id(other))
                found.append(other)


def memory_bytes(root: object) -> int:
    """Return the bytes of the object and of everything that it refers to: Python objects, arrays with their data.

    An object's bytes are what `sys.getsizeof` says. Memory that native code allocates for itself does not count, and the allocator's
    own losses do not. An array's data count in full, also where the system has not yet given memory to pages that are still zero.

    >>> memory_bytes([bytes(1000), bytes(1000)]) in range(2100, 2300)
    True
    """
    return sum(sys.getsizeof(thing) for thing in reachable(root))
