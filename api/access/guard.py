"""Which role a route needs: declared once on its router, `APIRouter(…, dependencies=needs("read", change="admin"))`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from api.access.audited import ROLE_NEEDED
from api.access.roles import Caller, in_order
from api.problems import Problem
from schemas.records import KeyRole

_READING = ("GET", "HEAD", "OPTIONS")


class Needs(SecurityBase):
    """The check, run before the route. FastAPI finds it as a security scheme; `api.access.described` says it to the reader.

    Attributes:
        read: role for GET.
        change: role for all else.
    """

    def __init__(self, read: KeyRole, change: KeyRole) -> None:
        self.read, self.change = read, change
        self.model = HTTPBearer()
        self.scheme_name = f"needs {read} {change}"

    async def __call__(self, request: Request) -> None:
        """Refuse a caller without the role.

        Raises:
            Problem: naming the role.
        """
        # Set by the gate, in front of all routes. Without it this fails, and the route is not reached.
        caller: Caller = request.state.caller
        role = role_for(request.method, self.read, self.change)
        setattr(request.state, ROLE_NEEDED, role)
        if role not in caller.roles:
            has = ", ".join(in_order(caller.roles))
            raise Problem(HTTPStatus.FORBIDDEN, f"this needs the role {role}; the key {caller.name} has {has}")


def role_for(method: str, read: KeyRole, change: KeyRole) -> KeyRole:
    """Return the role that a request of this method needs."""
    return read if method in _READING else change


def needs(read: KeyRole, change: KeyRole | None = None) -> list[Any]:
    """Return the dependencies of a router whose routes need a role: `read` for GET, `change` (by default the same) for all else."""
    return [Depends(Needs(read, change or read))]
