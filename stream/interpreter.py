"""What the operators ask of the interpreter that they share."""

from __future__ import annotations

import gc

_ALLOCATIONS = 50_000


def collect_garbage_rarely() -> None:
    """Let the cyclic collector look at new objects rarely, and never again at those that exist.

    Records hold no cycles: reference counts free them. With the default threshold of 700 the collector ran for each small
    batch, and took a tenth of the time of publish.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
