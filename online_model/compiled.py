"""The one place that wraps numba, which has no types of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call, and keep the machine code on disk.

    The GIL is kept: the kernels run for microseconds, and in a TaskManager a dozen threads share one interpreter, so
    that getting the GIL back costs far more than anybody gains meanwhile.

    No fastmath: the result must not depend on the CPU. The cache lies beside the module, or where NUMBA_CACHE_DIR says.
    numba looks only at the module of the function itself to see whether the cache is stale; a kernel that calls kernels of
    other modules would go on with their old code. So the stamp is that of all modules of this package, by content.
    """
    wrapped: Any = numba.njit(cache=True, fastmath=False)(function)
    if hasattr(wrapped, "_cache"):  # not with NUMBA_DISABLE_JIT
        wrapped._cache._cache_file._source_stamp = _SOURCES  # noqa: SLF001 - numba has no other way to set it
    result: Callable[P, R] = wrapped
    return result
