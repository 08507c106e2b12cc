"""`python -m api --host 127.0.0.1 --port 8000`: serves the API; the settings come from the variables MILLRACE_*."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import uvicorn

from api.access.key_file import KeyFileError
from api.access.start import listening, troubles
from api.app import create_app
from schemas.api_settings import ApiSettings, read_api_settings
from schemas.settings import SettingsError, read_settings
from store.connect import RedisUnavailable

GRACE_S = 20
"""How long requests in progress may take when the server is told to stop."""

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help=f"address to listen on (default: MILLRACE_API_HOST, or {ApiSettings().host})")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    wrong: list[str] = []
    settings = _read(wrong, lambda: read_settings(environment))
    api = _read(wrong, lambda: read_api_settings(environment))
    if api is not None:
        api = msgspec.structs.replace(api, host=options.host or api.host)
        wrong += troubles(api)
    if wrong or settings is None or api is None:
        sys.stderr.write("\n".join(wrong) + "\n")
        return 2
    try:
        app = create_app(settings, api)
    except (RedisUnavailable, KeyFileError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    uvicorn.run(app, port=options.port, timeout_graceful_shutdown=GRACE_S, access_log=False, **listening(api))
    return 0


def _read(wrong: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except SettingsError as error:
        wrong.extend(str(error).splitlines())
        return None


if __name__ == "__main__":
    sys.exit(main())
