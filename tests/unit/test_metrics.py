"""One list names every metric: what is used is in it, and what is in it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from api.services import Services
from schemas.metrics import API, JOBS, REFRESH, Metric
from schemas.settings import Settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def words(package: str) -> Iterator[str]:
    """Every string in the code of a package that looks like the name of a metric."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("millrace_"):
                yield node.value


@pytest.mark.parametrize(("package", "known"), [("api", API), ("stream", JOBS), ("batch_model", REFRESH)])
def test_what_is_used_is_in_the_list_and_what_is_in_the_list_is_used(package: str, known: tuple[Metric, ...]) -> None:
    assert set(words(package)) == {one.name for one in known}
    assert len({one.name for one in known}) == len(known)


def test_names_say_what_they_are() -> None:
    for one in (*API, *REFRESH):
        assert one.name.endswith("_total") == (one.kind == "counter"), one.name


def test_no_label_can_hold_what_a_user_wrote() -> None:
    closed = {"route", "method", "status", "topic", "part", "task", "state", "reason", "outcome", "trigger", "alert"}
    assert {label for one in (*API, *JOBS, *REFRESH) for label in one.labels} <= closed


def test_the_api_shows_all_that_it_knows_without_kafka_and_redis() -> None:
    has: Services = create_app(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0")).state.services
    families = {family.name: family for family in text_string_to_metric_families(has.measures.text().decode())}
    shown = {f"{name}_total" if family.type == "counter" else name: family.type for name, family in families.items()}
    assert shown == {one.name: one.kind for one in API}
    assert families["millrace_model_seq"].samples == []
