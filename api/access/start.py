"""What must be right before the API listens: keys beyond loopback, a certificate with its key. All that is wrong is said at once."""

from __future__ import annotations

import ipaddress
import ssl
import time
from pathlib import Path
from typing import Any

from api.access.key_file import KeyFileError, read_key_file
from schemas.api_settings import ApiSettings

_FIRST_KEY = "make the first one with `millrace keys create NAME --role admin --file FILE`, and start with MILLRACE_API_KEYS=FILE"


def troubles(settings: ApiSettings) -> list[str]:
    """Return what keeps the API from being started with these settings."""
    return [*_key_troubles(settings), *_tls_troubles(settings)]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("here.example")
    (True, True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(settings: ApiSettings) -> ssl.SSLContext | None:
    """Return what the server encrypts with; None without a certificate.

    Raises:
        OSError: if the files cannot be read, or do not belong together (ssl.SSLError is one).
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # No pass phrase is asked for: nobody sits at the terminal of a service.
    context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: b"")
    return context


def listening(api: ApiSettings) -> dict[str, Any]:
    """Return what uvicorn is to know of the settings. Without proxies no header is believed to say where a request comes from."""
    found: dict[str, Any] = {"proxy_headers": bool(api.proxies), "forwarded_allow_ips": list(api.proxies)}
    context = tls_context(api)
    return found if context is None else {**found, "ssl_context_factory": lambda *_: context}


def _key_troubles(settings: ApiSettings) -> list[str]:
    if not settings.keys:
        return (
            [] if is_loopback(settings.host) else [f"the API would listen on {settings.host}, beyond loopback, without keys: {_FIRST_KEY}"]
        )
    if not Path(settings.keys).exists():
        return [f"MILLRACE_API_KEYS={settings.keys}: there is no such file: {_FIRST_KEY}"]
    try:
        keys = read_key_file(Path(settings.keys)).keys
    except KeyFileError as error:
        return [f"MILLRACE_API_KEYS: {error}"]
    now = time.time_ns() // 1_000_000
    return [] if any(key.valid(now) for key in keys) else [f"the key file {settings.keys} holds no valid key: {_FIRST_KEY}"]


def _tls_troubles(settings: ApiSettings) -> list[str]:
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        return ["MILLRACE_API_TLS_CERTIFICATE and MILLRACE_API_TLS_KEY belong together: only one of them is set"]
    try:
        tls_context(settings)
    except ssl.SSLError as error:
        return [
            f"MILLRACE_API_TLS_CERTIFICATE and MILLRACE_API_TLS_KEY are no certificate with its key, PEM and without pass phrase ({error})"
        ]
    except OSError as error:
        return [f"MILLRACE_API_TLS_CERTIFICATE or MILLRACE_API_TLS_KEY cannot be read ({error.strerror})"]
    return []
