"""The URL of a Redis, without what nobody else may see. Pure."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def without_password(url: str) -> str:
    """Return the URL fit for a message.

    >>> without_password("redis://me:secret@host:1/0"), without_password("redis://host:1/0?password=secret")
    ('redis://me:***@host:1/0', 'redis://host:1/0?password=***')
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if at and ":" in user:
        parts = parts._replace(netloc=f"{user.split(':')[0]}:***@{host}")
    if "password=" in parts.query:
        given = parse_qsl(parts.query, keep_blank_values=True)
        parts = parts._replace(query=urlencode([(name, "***" if name == "password" else value) for name, value in given], safe="*/"))
    return urlunsplit(parts)
