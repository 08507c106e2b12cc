"""Where a refresh keeps its own files."""

from __future__ import annotations

from pathlib import Path

from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings


def refresh_root(settings: Settings, refresh: RefreshSettings) -> Path:
    """Return the folder of the refreshes: as it is set, else `refresh` beside the artifact folder."""
    return Path(refresh.folder).absolute() if refresh.folder else Path(settings.artifacts).absolute().parent / "refresh"
