"""Small variants of a model: fewer bytes, the same answers nearly everywhere, and what is damaged is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from batch_model.variants import FULL, VARIANTS, Variant, measured, pack, unpack
from online_model.models import OwnModel
from tests.labelled_texts import generated

pytestmark = pytest.mark.unit

ROWS = generated(1500)


@pytest.fixture(scope="module")
def model() -> OwnModel:
    model = OwnModel(memory_mib=2)
    for row in ROWS[:1000]:
        model.learn_one(row.text, row.label)
    return model


def test_the_full_one_is_the_model(model: OwnModel) -> None:
    assert unpack(pack(model, FULL), model).fingerprint() == model.fingerprint()


@pytest.mark.parametrize(("weights", "share", "step"), [("float16", 0.72, 2**-10), ("int8", 0.56, 1 / 127)])
def test_fewer_bytes_hold_weights_as_exactly_as_their_type_can(model: OwnModel, weights: str, share: float, step: float) -> None:
    variant = Variant(weights)  # type: ignore[arg-type]  # pytest's parameters are plain strings
    small, full = unpack(pack(model, variant), model).arrays(), model.arrays()
    largest = np.abs(full["weights"]).max(axis=1, keepdims=True)
    assert (np.abs(small["weights"] - full["weights"]) <= step * largest + 1e-4).all()
    one, other = measured(model, (variant, FULL), ROWS[1000:])
    assert one.artifact_bytes < share * other.artifact_bytes
    assert one.accuracy == pytest.approx(other.accuracy, abs=0.01)
    assert one.predictions_per_second is not None
    assert one.predictions_per_second > 0


@pytest.mark.parametrize("weights", ["float32", "float16", "int8"])
def test_what_was_read_back_is_packed_into_the_same_bytes(model: OwnModel, weights: str) -> None:
    variant = Variant(weights)  # type: ignore[arg-type]  # as above
    first = pack(model, variant)
    again = pack(unpack(first, model), variant)
    assert first.keys() == again.keys()
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_pruning_drops_the_rows_that_say_least(model: OwnModel) -> None:
    full, half = model.arrays(), pack(model, Variant(prune=0.5))
    assert half["rows"].size == full["rows"].size - full["rows"].size // 2
    lengths = dict(zip(full["rows"].tolist(), np.square(full["weights"].astype(np.float64)).sum(1), strict=True))
    kept = set(half["rows"].tolist())
    assert max(lengths[row] for row in lengths.keys() - kept) <= min(lengths[row] for row in kept)
    assert (np.diff(half["rows"].astype(np.int64)) > 0).all()


def test_a_small_variant_goes_on_learning(model: OwnModel) -> None:
    small = unpack(pack(model, Variant("int8", 0.3)), model)
    before = small.predict_proba_one("a word that nobody said")[ROWS[0].label]
    small.learn_one("a word that nobody said", ROWS[0].label)
    assert small.predict_proba_one("a word that nobody said")[ROWS[0].label] > before


def test_every_variant_of_a_model_without_labels_can_be_packed() -> None:
    empty = OwnModel(memory_mib=1)
    assert [one.accuracy for one in measured(empty, VARIANTS, [])] == [None] * len(VARIANTS)
    for variant in VARIANTS:
        assert unpack(pack(empty, variant), empty).classes == []


def test_all_of_a_table_cannot_be_pruned() -> None:
    with pytest.raises(ValueError, match="prune"):
        Variant(prune=1.0)


@pytest.mark.parametrize("scales", [None, np.zeros(3, np.float16), np.full(1, np.inf, np.float16), np.zeros(1, np.float32)])
def test_int8_with_scales_that_do_not_fit_is_refused(model: OwnModel, scales: npt.NDArray[Any] | None) -> None:
    arrays = pack(model, Variant("int8"))
    del arrays["scales"]
    if scales is not None:
        arrays["scales"] = np.resize(scales, arrays["rows"].size) if scales.size == 1 else scales
    with pytest.raises(ValueError, match="scales"):
        OwnModel.from_arrays(arrays, model.classes, memory_mib=2)


def test_float16_that_is_no_number_is_refused(model: OwnModel) -> None:
    arrays = pack(model, Variant("float16"))
    arrays["weights"][0, 0] = np.nan
    with pytest.raises(ValueError, match="weights"):
        OwnModel.from_arrays(arrays, model.classes, memory_mib=2)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
def test_weights_of_another_type_are_refused(model: OwnModel, dtype: type) -> None:
    arrays = model.arrays()
    arrays["weights"] = arrays["weights"].astype(dtype)
    with pytest.raises(ValueError, match="weights"):
        OwnModel.from_arrays(arrays, model.classes, memory_mib=2)
