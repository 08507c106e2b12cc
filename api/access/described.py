"""Access in the OpenAPI description: how a key is sent, which role each route needs, and the answers that the gate gives."""

from __future__ import annotations

from typing import Any

from api.access.gate import is_open
from api.access.guard import role_for
from api.problems import MEDIA_TYPE

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, in a header of its own."},
}
_BROWSERS = {
    403: "A page of another origin wanted to change something.",
    421: "It was sent to a name that is not this service's.",
}
_KEYS = {
    401: "A key is missing, not known, or not valid any more.",
    403: "The key lacks the role that is needed, or a page of another origin wanted to change something.",
    429: "Too much at once from this key or address; `Retry-After` says when to try again, in seconds.",
}


def describe_access(api: dict[str, Any], *, keys_required: bool) -> None:
    """Add it to a description that FastAPI has made: the schemes there name the roles that the routers declare."""
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            _describe(operation, method, path, keys_required=keys_required)
    api.setdefault("components", {})["securitySchemes"] = _SCHEMES


def _describe(operation: dict[str, Any], method: str, path: str, *, keys_required: bool) -> None:
    needed = [name.split()[1:] for entry in operation.pop("security", ()) for name in entry if name.startswith("needs ")]
    answers = _BROWSERS if is_open(path) else _BROWSERS | _KEYS
    for status, text in answers.items():
        schema = {"$ref": "#/components/schemas/ProblemBody"}
        answer: dict[str, Any] = {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}
        if status == 429:
            answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
        operation["responses"].setdefault(str(status), answer)
    if needed:
        roles = " and ".join(sorted({role_for(method.upper(), read, change) for read, change in needed}))
        operation["security"] = [{"bearer": []}, {"header": []}, *([] if keys_required else [{}])]
        operation["x-role"] = roles
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds the role `{roles}`.".strip()
