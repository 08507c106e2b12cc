"""Logs in to Redis: the URL says where and as whom, `rediss://` that it is encrypted, and parameters where the files are.

`rediss://USER@HOST:PORT/0?password_file=FILE&ssl_ca_certs=FILE`: beside what redis-py knows (`ssl_certfile` and `ssl_keyfile` for a
client's certificate) the file of the password is ours, so that the password stands in no setting.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_PASSWORD_FILE = "password_file"  # noqa: S105 - the name of a parameter


def url_and_options(url: str) -> tuple[str, dict[str, Any]]:
    """Return the URL as redis-py reads it, and what else its connections are to be told.

    Raises:
        ValueError: if the file of the password cannot be read, or holds none.
    """
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    file = dict(given).get(_PASSWORD_FILE)
    options: dict[str, Any] = {}
    if parts.scheme == "rediss":
        # redis-py 5 believes a certificate for another host unless it is told not to.
        options = {"ssl_check_hostname": dict(given).get("ssl_cert_reqs") != "none", "ssl_min_version": ssl.TLSVersion.TLSv1_2}
    if file is not None:
        options["password"] = _password(file)
        parts = parts._replace(query=urlencode([(name, value) for name, value in given if name != _PASSWORD_FILE]))
    return urlunsplit(parts), options


def _password(file: str) -> str:
    try:
        password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file of its password, {file}, cannot be read: {error}") from error
    if not password:
        raise ValueError(f"the file of its password, {file}, is empty")
    return password
