"""Who am I: what a page asks first, to show what its user may do."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from api.access.gate import Access
from api.access.guard import needs
from api.access.roles import Caller, in_order
from api.services import answers, json
from schemas.records import KeyRole

router = APIRouter(prefix="/v1", tags=["access"], dependencies=needs("read"))


class MeView(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key it is (null without one), what it may do, and whether keys are needed at all. Without keys everybody may do everything."""

    name: str | None
    roles: list[KeyRole]
    keys_required: bool


@router.get("/me", responses=answers(MeView))
def me(request: Request) -> Response:
    """Return the name and the roles of the key that the request brings."""
    caller: Caller = request.state.caller
    access: Access = request.app.state.access
    return json(MeView(name=caller.name, roles=in_order(caller.roles), keys_required=access.keys_required))
