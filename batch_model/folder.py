"""Where a refresh keeps its own files."""

from __future__ import annotations

from pathlib import Path

from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings


def refresh_folder(refresh: RefreshSettings, settings: Settings) -> Path:
    """Return the folder of reports, registry and unfinished work; it need not exist yet.

    >>> refresh_folder(RefreshSettings(folder="/srv/refresh"), Settings()).as_posix()
    '/srv/refresh'
    >>> refresh_folder(RefreshSettings(), Settings(artifacts="/srv/artifacts")).as_posix()
    '/srv/refresh'
    """
    return Path(refresh.folder).absolute() if refresh.folder else Path(settings.artifacts).absolute().parent / "refresh"
