"""Where everything lies: one data folder for each stack, one cache of jars for all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from stack.errors import StackError


def data_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's data home (XDG base directory specification).

    >>> data_home({"XDG_DATA_HOME": "/x"}).as_posix()
    '/x'
    """
    given = environment.get("XDG_DATA_HOME")
    return Path(given) if given else Path.home() / ".local" / "share"


def default_data_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return $MILLRACE_DATA_DIR, or the folder `millrace` in the data home.

    >>> default_data_dir({"XDG_DATA_HOME": "/x"}).as_posix()
    '/x/millrace'
    """
    given = environment.get("MILLRACE_DATA_DIR")
    return Path(given) if given else data_home(environment) / "millrace"


def jar_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that keeps the jars: $MILLRACE_JARS, or `millrace/jars` in the data home."""
    given = environment.get("MILLRACE_JARS")
    return Path(given) if given else data_home(environment) / "millrace" / "jars"


class DataFolder:
    """The paths inside one data folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.run = self.root / "run"
        self.logs = self.root / "logs"
        self.kafka = self.root / "kafka"
        self.redis = self.root / "redis"
        self.flink = self.root / "flink"
        self.artifacts = self.root / "artifacts"
        self.checkpoints = self.root / "checkpoints"
        self.savepoints = self.root / "savepoints"
        self.ports = self.root / "ports.json"
        self.jobs = self.root / "jobs.json"
        self.state = self.run / "state.json"
        self.plan = self.run / "plan.json"
        self.lock = self.run / "lock"
        self.requests = self.run / "requests"

    def log(self, name: str) -> Path:
        """Return the log file of a part."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders.

        Raises:
            StackError: if the data folder cannot be written.
        """
        try:
            for folder in (self.run, self.logs, self.artifacts, self.checkpoints, self.savepoints, self.requests):
                folder.mkdir(parents=True, exist_ok=True)
            # The plan and the state may hold a password, in the URL of a Redis.
            self.run.chmod(0o700)
            probe = self.run / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StackError(
                f"The data folder {self.root} cannot be written ({error.strerror}). "
                "Choose another with --data-dir or MILLRACE_DATA_DIR, or change its owner or mode."
            ) from error


def write_atomically(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace the file's content: readers see the old bytes or the new ones, also after a crash; only its owner, if it is private."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if private else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> object:
    """Return the JSON value in the file, or None if there is no such file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
