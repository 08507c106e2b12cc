"""The OpenAPI description: FastAPI's routes with the schemas of our msgspec types, and an example of everything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api import examples
from api.access.described import describe_access
from api.access.gate import Access
from api.services import DESCRIBED, ERRORS, Services, described
from schemas.json_schema import with_rules
from schemas.records import DEFAULT_TASK, LATEST_MS, SCHEMA_VERSION, Event, Feedback

TAGS = {
    "read": "What was predicted, and how well: the read model, from Redis.",
    "models": "Which models there are, which was live when, and what is asked of the learner.",
    "write": "Events to classify and feedback to learn from, to Kafka.",
    "classify": "A label at once, from a replica of the model.",
    "live": "What happens, as it happens.",
    "review": "What is worth labelling next.",
    "access": "Who asks, and what they may.",
    "service": "For whoever runs the service.",
}

_SHAPES: Mapping[str, dict[str, Any]] = {
    "time": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": LATEST_MS}, {"type": "string", "format": "date-time"}]},
}
"""Of parameters, by name, whose rule FastAPI cannot say."""

_REF = "#/components/schemas/"
_OF_BODIES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""What every route that takes a body may answer."""


def operation_id(route: APIRoute) -> str:
    """Return the id of an operation: the name of the function that answers it."""
    return route.name


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what replaces `app.openapi`; the description is made once."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            described_ = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            has: Services = app.state.services
            described_.setdefault("components", {}).setdefault("schemas", {}).update(_schemas(has.settings.tasks))
            access: Access = app.state.access
            describe_access(described_, keys_required=access.keys_required)
            known: dict[str, type[msgspec.Struct]] = {kind.__name__: kind for kind in DESCRIBED}
            for operation in operations(described_):
                _complete(operation, known, has.settings.tasks)
            used = {tag for operation in operations(described_) for tag in operation.get("tags", ())}
            described_["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in used]
            described_["servers"] = [{"url": "/", "description": "the one that answers this"}]
            made.update(described_)
        return made

    return openapi


def operations(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation of a description."""
    for methods in description["paths"].values():
        yield from methods.values()


def _complete(operation: dict[str, Any], known: dict[str, type[msgspec.Struct]], tasks: Sequence[str]) -> None:
    """Add what follows from the rest: examples, and the answers that all routes of a kind may give."""
    for parameter in operation.get("parameters", ()):
        _complete_parameter(parameter, tasks)
    responses = operation["responses"]
    if body := operation.get("requestBody"):
        for status in _OF_BODIES:
            responses.setdefault(str(int(status)), described("ProblemBody", "application/problem+json", ERRORS[status]))
        for content in body["content"].values():
            _add_examples(content, known)
    for status, response in responses.items():
        for content in response.get("content", {}).values():
            if content.get("schema", {}).get("$ref") == _REF + "ProblemBody":
                content.setdefault("examples", {HTTPStatus(int(status)).phrase: {"value": examples.problem(int(status))}})
            else:
                _add_examples(content, known)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_parameter(parameter: dict[str, Any], tasks: Sequence[str]) -> None:
    schema = parameter["schema"]
    if parameter["in"] in ("query", "header") and "anyOf" in schema:
        # Neither has a null: what is not given is left out.
        (kind,) = [part for part in schema.pop("anyOf") if part != {"type": "null"}]
        parameter["schema"] = {**kind, **schema}
    if parameter["name"] in _SHAPES:
        parameter["schema"] = _SHAPES[parameter["name"]]
    if parameter["name"] == "task":
        parameter["schema"]["enum"] = list(tasks)
    if (value := examples.PARAMETERS.get(parameter["name"])) is not None and "example" not in parameter:
        parameter.setdefault("examples", {"usual": {"value": value}})


def _add_examples(content: dict[str, Any], known: dict[str, type[msgspec.Struct]]) -> None:
    """Add an example for each form that a content may have."""
    schema = content.get("schema", {})
    found = {title: value for title, value in (_form(part, known) for part in schema.get("oneOf", [schema])) if title}
    if found and "example" not in content:
        content.setdefault("examples", {title: {"value": value} for title, value in found.items()})


def _form(schema: dict[str, Any], known: dict[str, type[msgspec.Struct]]) -> tuple[str, Any]:
    if schema.get("type") == "array":
        title, value = _form(schema["items"], known)
        return (f"several of {title}", [value]) if title else ("", None)
    name = schema.get("$ref", "").removeprefix(_REF)
    if name in examples.WHOLE:
        return name, examples.WHOLE[name]
    return (name, examples.example(known[name])) if name in known else ("", None)


def _schemas(tasks: Sequence[str]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([Event, Feedback, *DESCRIBED], ref_template=_REF + "{name}")
    schemas = with_rules(components)
    for record, optional in (("Event", "event_id"), ("Feedback", None)):
        # What a client sends: the topic's record, with the id made here if it is missing.
        sent = copy.deepcopy(schemas[record])
        if optional:
            sent["required"].remove(optional)
            sent["properties"][optional] = {"anyOf": [sent["properties"][optional], {"type": "null"}]}
        sent["properties"]["task"] = {"enum": list(tasks), "default": DEFAULT_TASK}
        sent["properties"]["v"] = {"const": SCHEMA_VERSION, "default": SCHEMA_VERSION}
        schemas[f"New{record}"] = sent
    return schemas
