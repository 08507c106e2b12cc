"""Laws that every text classifier must keep that Millrace serves; `MODELS` lists the classifiers."""

import copy
import math
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import compose

from online_model.softmax import HashedSoftmax, rows_within, warm_up

pytestmark = pytest.mark.unit

MODELS: list[Callable[[], HashedSoftmax]] = [lambda: HashedSoftmax(memory_mib=1)]
model_of = pytest.mark.parametrize("make", MODELS)
Make = Callable[[], HashedSoftmax]

SCRIPTS = [
    "plain words",
    "ภาษาไทยไม่มีช่องว่าง",
    "日本語のテキスト",
    "Ελληνικά",
    "हिन्दी में",
    "نص عربي",
    "👍🏽 😡😡",
    "",
    "   ",
    "\x00",
    "a" * 100_000,
]


def stream(classes: int, count: int = 200) -> list[tuple[str, str]]:
    draw = random.Random(7)
    return [(f"word{c} and word{draw.randrange(30)} {draw.randrange(99)}", f"class {c}") for c in (i % classes for i in range(count))]


def taught(make: Make, lessons: list[tuple[str, str]]) -> HashedSoftmax:
    model = make()
    for text, label in lessons:
        model.learn_one(text, label)
    return model


def state(model: HashedSoftmax) -> tuple[list[str], list[bytes]]:
    return model.classes, [array.tobytes() for _, array in sorted(model.arrays().items())]


@model_of
def test_an_untaught_model_predicts_nothing(make: Make) -> None:
    assert make().predict_proba_one("text") == {}
    assert make().predict_one("text") is None


@model_of
@pytest.mark.parametrize("text", SCRIPTS)
def test_any_text_can_be_predicted_and_learned(make: Make, text: str) -> None:
    model = taught(make, stream(3))
    for _ in range(2):
        proba = model.predict_proba_one(text)
        assert math.isclose(sum(proba.values()), 1.0)
        assert all(type(p) is float and 0 <= p <= 1 for p in proba.values())
        model.learn_one(text, "class 1")


@model_of
def test_a_text_without_features_or_with_unknown_words_gets_a_distribution(make: Make) -> None:
    model = taught(make, stream(4))
    assert model.predict_proba_one("") == {f"class {c}": 0.25 for c in range(4)}
    assert math.isclose(sum(model.predict_proba_one("zyx wvu").values()), 1.0)


@model_of
def test_predicting_changes_nothing(make: Make) -> None:
    model = taught(make, stream(3))
    before = state(model)
    for text in SCRIPTS:
        assert model.predict_proba_one(text) == model.predict_proba_one(text)
    assert state(model) == before


@model_of
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from([str(i) for i in range(20)])), max_size=40))
def test_the_same_labels_give_the_same_bytes(make: Make, lessons: list[tuple[str, str]]) -> None:
    assert state(taught(make, lessons)) == state(taught(make, lessons))


@model_of
def test_it_learns_and_lists_classes_as_they_appear(make: Make) -> None:
    lessons = stream(5, 400)
    model = taught(make, lessons)
    assert list(model.predict_proba_one("x")) == model.classes == [f"class {c}" for c in range(5)]
    assert all(model.predict_one(text) == label for text, label in lessons[-50:])


@model_of
def test_the_prediction_is_the_most_probable_class(make: Make) -> None:
    model = taught(make, stream(12))
    for text, _ in stream(12, 30):
        proba = model.predict_proba_one(text)
        assert model.predict_one(text) == max(proba, key=proba.__getitem__)
        top = model.predict_top(text, 3)
        assert list(top) == sorted(proba, key=proba.__getitem__, reverse=True)[:3]


@model_of
def test_a_label_makes_itself_more_probable(make: Make) -> None:
    model = taught(make, stream(3))
    before = model.predict_proba_one("word1 again")["class 2"]
    model.learn_one("word1 again", "class 2")
    assert model.predict_proba_one("word1 again")["class 2"] > before


@model_of
def test_copies_go_their_own_way(make: Make) -> None:
    model = taught(make, stream(3))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301 - our own bytes
        assert state(twin) == state(model)
        twin.learn_one("word1", "class 2")
        assert state(twin) != state(model)
    fresh = model.clone()
    assert (fresh.memory_mib, fresh.classes) == (model.memory_mib, [])


@model_of
def test_it_works_in_a_river_pipeline(make: Make) -> None:
    strip: Any = str.strip
    pipeline: Any = compose.Pipeline(compose.FuncTransformer(strip), make())  # River's types say dict, its text models take strings
    for text, label in stream(3):
        pipeline.learn_one(f"  {text} ", label)
    assert pipeline.predict_one(" word2 ") == "class 2"
    assert set(pipeline.predict_proba_one("word2")) == {"class 0", "class 1", "class 2"}


@pytest.mark.parametrize("classes", [8, 9, 16, 17, 33])
def test_classes_may_outgrow_the_tables(classes: int) -> None:
    lessons = stream(8, 300)
    model = taught(lambda: HashedSoftmax(memory_mib=64), lessons)
    before = {text: model.predict_proba_one(text) for text, _ in lessons[:20]}
    for c in range(8, classes):
        model._add_class(f"class {c}")
    assert model.capacity == max(8, 2 ** math.ceil(math.log2(classes)))
    assert model.rows == rows_within(64, model.capacity)
    for text, old in before.items():
        new = model.predict_proba_one(text)
        assert math.isclose(sum(new.values()), 1.0)
        shared = sum(new[name] for name in old)
        assert {name: new[name] / shared for name in old} == pytest.approx(old, abs=0.02)  # a few features share a row now


@pytest.mark.parametrize("classes", [8, 9, 17])
def test_a_grown_model_survives_its_arrays(classes: int) -> None:
    model = taught(MODELS[0], stream(classes))
    again = HashedSoftmax.from_arrays(model.arrays(), model.classes, memory_mib=1, learning_rate=0.2)
    assert state(again) == state(model)
    for twin in (model, again):
        twin.learn_one("one more", f"class {classes}")
    assert state(again) == state(model)


def test_folding_adds_rows_r_and_r_plus_half() -> None:
    model = taught(MODELS[0], stream(8))
    old = model._table.copy()
    model._add_class("ninth")
    half = len(old) // 2
    assert model._table.shape == (half, 16)
    assert np.array_equal(model._table[:, :8], old[:half] + old[half:])
    assert not model._table[:, 8:].any()


def test_memory_stays_within_the_budget() -> None:
    for classes in (1, 9, 17, 65):
        model = taught(MODELS[0], stream(classes, classes))
        assert model._table.nbytes + model._squares.nbytes <= 2**20
    crowded = taught(MODELS[0], stream(300, 300))
    assert crowded.rows == 1024  # below that the budget gives way
    assert len(crowded.predict_proba_one("word1")) == 300


def test_a_vanishing_weight_leaves_no_denormal_floats() -> None:
    model = taught(MODELS[0], stream(2))
    before = state(model)
    model.learn_one("word1", "class 0", w=1e-300)
    assert state(model) == before


@pytest.mark.parametrize(("memory_mib", "learning_rate"), [(0, 0.2), (1, 0.0), (1, math.nan)])
def test_impossible_parameters_are_refused(memory_mib: int, learning_rate: float) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        HashedSoftmax(memory_mib, learning_rate)


def test_warming_up_leaves_no_trace() -> None:
    model = taught(MODELS[0], stream(2))
    before = state(model)
    warm_up()
    assert state(model) == before
