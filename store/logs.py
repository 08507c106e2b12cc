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
from structlog.typing import EventDict

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


def _formatter(application: str, *, readable: bool) -> logging.Formatter:
    def named(_: object, __: str, event: EventDict) -> EventDict:
        return {**event, "application": application}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        named,
        _without_values,
    ]
    if readable:
        last: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer(timestamp_key="time")]
    else:
        last = [_ordered, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def _without_values(_: object, __: str, event: EventDict) -> EventDict:
    """Say of an exception its kind and where it came from: its text may hold what a user wrote."""
    error = event.pop("exc_info", None)
    event.pop("color_message", None)
    if isinstance(error, tuple) and error[0] is not None:
        event["error"] = error[0].__name__
        event["at"] = place(error[1])
    return event


def place(error: BaseException) -> str:
    """Return where an exception came from, the innermost place first."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in reversed(frames))


def _ordered(_: object, __: str, event: EventDict) -> EventDict:
    """Put first what every line has."""
    first = ("time", "level", "application", "logger", "event")
    return {**{name: event.pop(name) for name in first if name in event}, **event}
