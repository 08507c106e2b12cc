"""Puts the gate in front of an application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from api.access.audited import Audited
from api.access.gate import Access, Gate

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-ID", "traceparent"],
    "expose_headers": ["Location", "Retry-After", "X-Request-ID"],
}


def install(app: FastAPI, access: Access) -> None:
    """Put the gate in front of all routes of the application, and the audit behind it."""
    app.state.access = access
    app.add_middleware(Audited, trail=access.trail)
    app.add_middleware(Gate, access=access)
    if access.settings.origins:
        # Outside the gate, so that a page from elsewhere can read refusals, too.
        app.add_middleware(CORSMiddleware, allow_origins=access.settings.origins, **_CORS)
