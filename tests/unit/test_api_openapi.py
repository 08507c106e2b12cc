"""The OpenAPI description: every route has an id, a tag, and examples that fit their types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from api import examples
from api.app import create_app
from api.docs_page import PAGE
from api.openapi import TAGS, operations
from api.services import DESCRIBED
from schemas.settings import Settings

pytestmark = pytest.mark.unit

DESCRIPTION: dict[str, Any] = create_app(Settings()).openapi()
OPERATIONS = {operation["operationId"]: operation for operation in operations(DESCRIPTION)}


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that an operation takes or answers with."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body {media_type}", content
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            yield f"{status} {media_type}", content


def test_every_operation_has_an_id_of_its_own_and_a_tag_that_is_explained() -> None:
    assert len(OPERATIONS) == sum(map(len, DESCRIPTION["paths"].values()))
    assert all(set(operation["tags"]) <= set(TAGS) for operation in OPERATIONS.values())
    assert all(operation["description"] for operation in OPERATIONS.values())
    assert DESCRIPTION["servers"]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_parameter_and_body_has_an_example(name: str) -> None:
    operation = OPERATIONS[name]
    for parameter in operation.get("parameters", ()):
        known = examples.PARAMETERS.get(parameter["name"], "?")
        assert known is None or parameter.get("examples") or parameter.get("example"), f"{parameter['name']}: add it to api.examples"
    for which, content in contents(operation):
        assert content.get("examples") or content.get("example"), f"{which} has no example"


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_example_fits_its_schema(name: str) -> None:
    holders = [*OPERATIONS[name].get("parameters", ()), *(content for _, content in contents(OPERATIONS[name]))]
    for holder in holders:
        schema = {**holder["schema"], "components": DESCRIPTION["components"]}
        for example in holder.get("examples", {}).values():
            jsonschema.Draft202012Validator(schema).validate(example["value"])


@pytest.mark.parametrize("kind", sorted(DESCRIBED, key=str), ids=str)
def test_examples_made_of_types_are_of_these_types(kind: type[msgspec.Struct]) -> None:
    msgspec.json.decode(json.dumps(examples.example(kind)), type=kind)


def test_the_page_shows_the_examples() -> None:
    assert "examples" in PAGE
    assert '"by"' not in PAGE, "no second list of examples"
