"""The table of variants: the usual ones of a real model, and which is released."""

from __future__ import annotations

import pytest

from batch_model.rows import LabelledText
from batch_model.variant_table import variant_table
from online_model.models import OwnModel
from schemas.refresh_settings import RefreshSettings
from stack.generator import generate

pytestmark = pytest.mark.unit

ROWS = [LabelledText(row.text, row.label or "") for row in generate(600, seed=8)]


@pytest.fixture(scope="module")
def model() -> OwnModel:
    model = OwnModel(memory_mib=4)
    for row in ROWS[:400]:
        model.learn_one(row.text, row.label)
    return model


def test_each_variant_says_what_it_costs_and_gives_and_leaves_the_model_alone(model: OwnModel) -> None:
    before = model.fingerprint()
    table = variant_table(model, RefreshSettings(variant="int8"), ROWS[400:])
    assert model.fingerprint() == before
    by_name = {row.name: row for row in table}
    assert table[0].name == "full"
    assert [row.name for row in table if row.chosen] == ["int8"]
    assert by_name["int8"].size_bytes < by_name["float16"].size_bytes < by_name["full"].size_bytes
    assert by_name["full"].accuracy == sum(row.label in model.predict_top(row.text, 1) for row in ROWS[400:]) / 200
    assert all(row.predictions_per_second > 0 for row in table)


def test_a_share_that_is_configured_is_measured_too(model: OwnModel) -> None:
    table = variant_table(model, RefreshSettings(prune_share=0.25), ROWS[400:])
    assert [row.name for row in table if row.chosen] == ["full, 25% of the rows pruned"]


def test_without_rows_there_is_no_table(model: OwnModel) -> None:
    assert variant_table(model, RefreshSettings(), []) == []
