"""The one place that wraps numba, which has no types of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` at its first call, and keep the machine code on disk.

    The GIL is kept: the kernels run for microseconds, and in a TaskManager a dozen threads share one interpreter, so
    that getting the GIL back costs far more than anybody gains meanwhile.

    No fastmath: the result must not depend on the CPU. The cache lies beside the module, or where NUMBA_CACHE_DIR
    says. numba looks only at the module of the function itself to see whether the cache is stale, so a compiled
    function may call compiled functions and read constants of its own module only.
    """
    wrapped: Callable[P, R] = numba.njit(cache=True, fastmath=False)(function)
    return wrapped
