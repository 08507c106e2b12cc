"""The OpenAPI description: FastAPI's routes with the schemas of our msgspec types."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.access.described import describe_access
from api.access.gate import Access
from api.services import DESCRIBED
from schemas.records import Event, Feedback


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what replaces `app.openapi`; the description is made once."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes))
            made.setdefault("components", {}).setdefault("schemas", {}).update(_schemas())
            access: Access = app.state.access
            describe_access(made, keys_required=access.keys_required)
        return made

    return openapi


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([Event, Feedback, *DESCRIBED], ref_template="#/components/schemas/{name}")
    for record, optional in (("Event", "event_id"), ("Feedback", None)):
        # What a client sends: the topic's record, with the id made here if it is missing.
        sent = copy.deepcopy(schemas[record])
        sent["required"] = [name for name in sent["required"] if name != optional]
        schemas[f"New{record}"] = sent
    return schemas
