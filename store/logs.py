"""How our programs log: one JSON object a line, or in colour for whoever looks on in a terminal.

Only programs call this, when they start; whatever is imported logs through the standard library.
"""

from __future__ import annotations

import logging
import sys
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path

import structlog
from structlog.typing import EventDict, ProcessorFormatter

MAX_BYTES = 16 * 1024 * 1024
OLDER_FILES = 3
"""A file is at most so large, and so many older ones stay."""

_QUIET = ("kafka", "uvicorn.access")
"""kafka-python tells of each try of a broker that is away; ours say it once. Requests are logged by the API itself."""


def log_as_json(application: str, *, file: Path | None = None, level: int = logging.INFO) -> None:
    """Send all logging of this process to stderr or a file: `time`, `level`, `application`, `logger`, `event` and what else is given.

    Args:
        application: names the installation.
        file: written instead of stderr; it is rotated.
        level: what is less is dropped.
    """
    readable = file is None and sys.stderr.isatty()
    handler = logging.StreamHandler(sys.stderr) if file is None else _rotating(file)
    handler.setFormatter(_formatter(application, readable=readable))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def _rotating(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True)
