"""What protects a service on loopback from the pages that its user visits, and its own pages from what is put into them. Pure.

A page from elsewhere cannot read our answers, but without more it could send us writes (CSRF), and by a name of its own that suddenly
points to 127.0.0.1 (DNS rebinding) it could read, too. So a name that is not ours is refused, and a write that another origin's page sends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from http import HTTPStatus

from api.problems import Problem

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_EVERYWHERE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cross-origin-resource-policy": "same-origin"}
_DATA = _EVERYWHERE | {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}


def page_policy(*scripts: str) -> str:
    """Return the Content-Security-Policy of a page: its own server only, and inline scripts of these hashes (`sha256-…`).

    Styles may be inline: charts set them on each element, and a style runs nothing.
    """
    allowed = " ".join(["'self'", *(f"'{script}'" for script in scripts)])
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


_PAGE = _EVERYWHERE | {"content-security-policy": page_policy(), "cross-origin-opener-policy": "same-origin"}


def security_headers(content_type: str) -> dict[str, str]:
    """Return the headers for an answer of this type; those that a route has set itself stay.

    >>> security_headers("application/json")["x-content-type-options"]
    'nosniff'
    """
    return _PAGE if content_type.startswith("text/html") else _DATA


def check_host(host: str, allowed: Collection[str]) -> None:
    """Refuse a request that was sent to a name that is not ours. An address is always taken: it cannot be made to point elsewhere.

    Raises:
        Problem: naming the host.

    >>> check_host("localhost:8000", ()), check_host("[::1]:8000", ()), check_host("Api.example", ("api.example",))
    (None, None, None)
    """
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost") or _is_address(name) or name in {one.lower() for one in allowed}:
        return
    detail = f"this service does not answer to the name {name[:100]!r}; MILLRACE_API_HOSTS lists the names, beside localhost"
    raise Problem(HTTPStatus.MISDIRECTED_REQUEST, detail)


def check_origin(origin: str | None, host: str, allowed: Collection[str]) -> None:
    """Refuse a write that a page of another origin sends. Programs send no origin.

    Raises:
        Problem: naming the origin.
    """
    if origin is None or origin in allowed or origin.lower().partition("://")[2] == host.lower():
        return
    raise Problem(
        HTTPStatus.FORBIDDEN, f"a page of {origin[:100]!r} may not change anything here; MILLRACE_API_ORIGINS lists those that may"
    )


def _name(host: str) -> str:
    """Return the host without its port.

    >>> _name("Host.example:80"), _name("[::1]:80"), _name("[::1]")
    ('host.example', '[::1]', '[::1]')
    """
    name, colon, port = host.strip().lower().rpartition(":")
    return name if colon and port.isdigit() else host.strip().lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
