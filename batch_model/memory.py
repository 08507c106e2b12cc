"""How much memory this process has taken at the most."""

from __future__ import annotations

import resource
import sys


def peak_mib() -> float:
    """Return the largest resident memory of this process since its start, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
