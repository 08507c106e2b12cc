"""What the worker remembers over a restart: a file, replaced atomically."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from batch_model.triggers import State

log = logging.getLogger(__name__)


class Memory:
    """The states of the tasks, in one file of the refreshes' folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, State]:
        """Return what was saved; nothing if there is no file, or none that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, State])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s cannot be read, and is begun anew: %s", self._path, error)
            return {}

    def save(self, states: dict[str, State]) -> None:
        """Replace the file; a full disk is said and does not end the worker."""
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(states), indent=1))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)
