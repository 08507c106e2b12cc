"""`python -m api --host 127.0.0.1 --port 8000`: serves the API; the settings come from the variables MILLRACE_*."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import uvicorn

from api.access.key_file import KeyFileError
from api.access.start import listening, troubles
from api.app import create_app
from api.server import allow_connections, few_arenas, server_config
from schemas.api_settings import ApiSettings, read_api_settings
from schemas.settings import SettingsError, read_settings
from store.connect import RedisUnavailable
from store.kafka_login import troubles as kafka_troubles
from store.logs import log_as_json

_SWITCH_S = 0.0005
"""The event loop gets the interpreter back from a thread that reads a log after so long, not after ten times as long."""

_ALLOCATIONS = 50_000
"""The collector of cyclic garbage looks at new objects this rarely: a look at all of them holds up every request."""
T = TypeVar("T")


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help=f"address to listen on (default: MILLRACE_API_HOST, or {ApiSettings().host})")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--log-file", type=Path, help="log to this file, which is rotated, instead of stderr")
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    settings = _read(wrong, lambda: read_settings(environment))
    api = _read(wrong, lambda: read_api_settings(environment))
    if api is not None:
        api = msgspec.structs.replace(api, host=options.host or api.host)
        wrong += troubles(api)
    if settings is not None:
        wrong += [f"MILLRACE_KAFKA: {problem}" for problem in kafka_troubles(settings.kafka)]
    if wrong or settings is None or api is None:
        sys.stderr.write("\n".join(wrong) + "\n")
        return 2
    try:
        app = create_app(settings, api)
    except (RedisUnavailable, KeyFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(_ALLOCATIONS)
    log_as_json(settings.application, file=options.log_file)
    few_arenas()
    allow_connections()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(server_config(app, api.host, options.port, log_config=None, **listening(api))).run()
    return 0


def _read(wrong: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except SettingsError as error:
        wrong.extend(str(error).splitlines())
        return None


if __name__ == "__main__":
    sys.exit(main())
