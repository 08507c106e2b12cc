"""The logging configuration of the Java parts: one rolling file each, bounded; or standard output, where somebody else keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_TEMPLATE = """\
status = ERROR
appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd HH:mm:ss,SSS}} %-5p %c{{2}} - %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 16MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = file
"""

_CONSOLE = """\
status = ERROR
appender.console.name = console
appender.console.type = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{2} - %m%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
"""


def log_properties(log: str | Path, *, warnings_only: Sequence[str] = ()) -> str:
    """Return a log4j 2 configuration that writes to `log` and keeps three older files of 16 MB.

    Args:
        log: the file.
        warnings_only: loggers whose everyday messages are left out.
    """
    return _TEMPLATE.format(log=log) + _quiet(warnings_only)


def console_properties(*, warnings_only: Sequence[str] = ()) -> str:
    """Return a log4j 2 configuration that writes to standard output."""
    return _CONSOLE + _quiet(warnings_only)


def _quiet(names: Sequence[str]) -> str:
    return "".join(f"logger.quiet{n}.name = {name}\nlogger.quiet{n}.level = WARN\n" for n, name in enumerate(names))
