"""The client knows every route, and its types hold all that the API answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.app import create_app
from client import Client, Unreachable
from client.routes import ROUTES, Route
from schemas.settings import Settings

pytestmark = pytest.mark.unit

DESCRIPTION: dict[str, Any] = create_app(Settings()).openapi()
OPERATIONS = {(verb.upper(), path): operation for path, verbs in DESCRIPTION["paths"].items() for verb, operation in verbs.items()}
BY_PLACE = {(route.method, route.path): route for route in ROUTES}


def missing(whole: Any, part: Any, where: str = "$") -> list[str]:
    """Where something of `whole` is not in `part`."""
    if isinstance(whole, dict):
        return [f"{where}.{name}" for name in whole if name not in part] + [
            found for name in whole if name in part for found in missing(whole[name], part[name], f"{where}.{name}")
        ]
    if isinstance(whole, list):
        return [found for one, other in zip(whole, part, strict=True) for found in missing(one, other, where + "[]")]
    return [] if whole == part else [f"{where}: {whole!r} is {part!r}"]


def test_every_route_of_the_api_is_known() -> None:
    assert set(OPERATIONS) <= set(BY_PLACE)
    assert len(BY_PLACE) == len(ROUTES)


@pytest.mark.parametrize("place", sorted(OPERATIONS), ids=" ".join)
def test_the_types_hold_all_that_is_answered(place: tuple[str, str]) -> None:
    route: Route[Any] = BY_PLACE[place]
    for status, response in OPERATIONS[place]["responses"].items():
        content = response["content"].get("application/json", {})
        for example in content.get("examples", {}).values() if int(status) < 300 else ():
            found = msgspec.json.decode(json.dumps(example["value"]), type=route.answer)
            assert missing(example["value"], msgspec.to_builtins(found)) == []


def test_nobody_there_is_an_error_of_its_own() -> None:
    with Client("http://127.0.0.1:1", timeout_s=2) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        client.quality()
