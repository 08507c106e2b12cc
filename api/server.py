"""How the application is served: uvicorn with our protocol, and limits that bound what clients can cost."""

from __future__ import annotations

import ctypes
import resource
from typing import Any

import uvicorn
from fastapi import FastAPI

from api.protocol import CONNECTIONS_MAX, GuardedProtocol

GRACE_S = 20
"""How long requests in progress may take when the server is told to stop."""

_BACKLOG = 512
_M_ARENA_MAX = -8
"""Of `mallopt(3)`."""
_FILES = 4 * CONNECTIONS_MAX


def server_config(app: FastAPI, host: str, port: int, **more: Any) -> uvicorn.Config:
    """Return the configuration of a server; `more` are further options of uvicorn's."""
    return uvicorn.Config(
        app, host=host, port=port, http=GuardedProtocol, ws="none", backlog=_BACKLOG, timeout_graceful_shutdown=GRACE_S,
        server_header=False, access_log=False, **more,
    )  # fmt: skip


def few_arenas() -> None:
    """Have glibc take memory from two arenas instead of eight a core, each of which keeps what its threads once needed.

    Ten thousand large requests left 50 MiB in them. Elsewhere than on glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def allow_connections() -> None:
    """Let this process open as many files as `CONNECTIONS_MAX` connections and what they need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
