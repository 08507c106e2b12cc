"""What a running stack says about itself in its data folder: addresses, processes, restarts."""

from __future__ import annotations

from pathlib import Path

from schemas.settings import Settings
from stack.sampling import StackProbe


def settings_of(data_dir: Path | None) -> Settings | None:
    """Return the settings of the stack that runs on the data folder, or None."""
    return None


def probe_of(data_dir: Path | None) -> StackProbe | None:
    """Return a probe."""
    return None
