"""Laws that every text classifier must keep that Millrace serves; `MODELS` lists the classifiers."""

import copy
import functools
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

from online_model.sizes import capacity_for, sizes
from online_model.softmax import MOST_CLASSES, HashedSoftmax, warm_up

pytestmark = pytest.mark.unit

Make = Callable[[], HashedSoftmax]
MODELS: list[Make] = [
    lambda: HashedSoftmax(memory_mib=1),
    HashedSoftmax,
    lambda: HashedSoftmax(memory_mib=2, learning_rate=0.5, balance=1.0, clean="nfkc"),
]
model_of = pytest.mark.parametrize("make", MODELS, ids=["small", "default", "balanced"])
SMALL = MODELS[0]

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
    "\ud83d",
    "a" * 100_000,
    "#a" * 100_000,
]


def stream(classes: int, count: int = 200) -> list[tuple[str, str]]:
    draw = random.Random(7)
    return [(f"word{c} and word{draw.randrange(30)} {draw.randrange(99)}", f"class {c}") for c in (i % classes for i in range(count))]


def taught(make: Make, lessons: list[tuple[str, str]]) -> HashedSoftmax:
    model = make()
    for text, label in lessons:
        model.learn_one(text, label)
    return model


def state(model: HashedSoftmax) -> tuple[list[Any], list[bytes]]:
    return model.classes, [array.tobytes() for _, array in sorted(model.arrays().items())]


def is_distribution(proba: dict[Any, float]) -> bool:
    return math.isclose(sum(proba.values()), 1.0) and all(type(p) is float and 0 <= p <= 1 for p in proba.values())


def is_finite(model: HashedSoftmax) -> bool:
    return all(bool(np.isfinite(array).all()) for array in model.arrays().values())


@model_of
def test_an_untaught_model_predicts_nothing(make: Make) -> None:
    assert make().predict_proba_one("text") == {}
    assert make().predict_one("text") is None
    assert make().predict_top("text", 3) == {}


@model_of
@pytest.mark.parametrize("text", SCRIPTS)
def test_any_text_can_be_predicted_and_learned(make: Make, text: str) -> None:
    model = taught(make, stream(3))
    for _ in range(2):
        assert is_distribution(model.predict_proba_one(text))
        model.learn_one(text, "class 1")


@model_of
def test_one_class_is_certain(make: Make) -> None:
    model = taught(make, stream(1, 20))
    assert model.predict_proba_one("anything") == {"class 0": 1.0}
    assert model.predict_top("anything", 3) == {"class 0": 1.0}


@model_of
def test_predicting_changes_nothing(make: Make) -> None:
    model = taught(make, stream(3))
    before = state(model)
    for text in SCRIPTS:
        assert model.predict_proba_one(text) == model.predict_proba_one(text)
    assert state(model) == before


@functools.lru_cache(maxsize=1)
def known() -> tuple[HashedSoftmax, ...]:
    return tuple(taught(make, stream(12)) for make in MODELS)


@given(st.text(max_size=60), st.integers(1, 15))
def test_every_answer_to_a_text_says_the_same(text: str, top: int) -> None:
    for model in known():
        proba = model.predict_proba_one(text)
        assert is_distribution(proba)
        assert model.predict_one(text) == max(proba, key=proba.__getitem__)
        best = model.predict_top(text, top)
        assert list(best) == sorted(proba, key=proba.__getitem__, reverse=True)[:top]
        assert all(p == pytest.approx(proba[name], abs=5.1e-7) for name, p in best.items())


@model_of
@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from([str(i) for i in range(20)])), max_size=40))
def test_the_same_labels_give_the_same_bytes(make: Make, lessons: list[tuple[str, str]]) -> None:
    assert state(taught(make, lessons)) == state(taught(make, lessons))


@model_of
def test_what_another_model_does_meanwhile_does_not_matter(make: Make) -> None:
    """The workspace belongs to all models of a process."""
    alone, beside, other = make(), make(), HashedSoftmax(memory_mib=1)
    for text, label in stream(7):
        alone.learn_one(text, label)
    for text, label in stream(7):
        other.learn_one("#a" * 200, label + text)
        beside.learn_one(text, label)
        other.predict_top(text * 9, 2)
    assert state(beside) == state(alone)


@model_of
def test_it_learns_and_lists_classes_as_they_appear(make: Make) -> None:
    lessons = stream(5, 400)
    model = taught(make, lessons)
    assert list(model.predict_proba_one("x")) == model.classes == [f"class {c}" for c in range(5)]
    assert all(model.predict_one(text) == label for text, label in lessons[-50:])


@model_of
def test_a_label_makes_itself_more_probable(make: Make) -> None:
    model = taught(make, stream(3))
    before = model.predict_proba_one("word1 again")["class 2"]
    model.learn_one("word1 again", "class 2")
    assert model.predict_proba_one("word1 again")["class 2"] > before


@model_of
def test_a_class_that_comes_late_is_learned_soon(make: Make) -> None:
    model = taught(make, stream(8, 400))
    for n in range(3):
        model.learn_one(f"quite another matter {n}", "late")
    assert model.predict_one("another matter") == "late"
    assert model.predict_one("word3 and") == "class 3"


@model_of
def test_a_heavier_label_says_more_and_one_without_weight_nothing(make: Make) -> None:
    proba = []
    for weight in (0.0, 0.5, 1.0, 5.0):
        model = taught(make, stream(3))
        before = state(model)
        model.learn_one("word1 again", "class 2", weight)
        proba.append(model.predict_proba_one("word1 again")["class 2"])
        assert (state(model)[1][2:] == before[1][2:]) == (weight == 0.0)
    assert proba == sorted(proba)
    assert len(set(proba)) == 4


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


@pytest.mark.parametrize("classes", [8, 9, 16, 17, 33, 65, 151])
def test_classes_may_outgrow_the_table(classes: int) -> None:
    lessons = stream(8, 300)
    model = taught(HashedSoftmax, lessons)
    before = {text: model.predict_proba_one(text) for text, _ in lessons[:20]}
    for c in range(8, classes):
        model._add_class(f"class {c}")
    assert model.capacity == capacity_for(classes)
    assert model.rows == 2 ** sizes(model.memory_mib, model.capacity)[0]
    for text, old in before.items():
        new = model.predict_proba_one(text)
        assert math.isclose(sum(new.values()), 1.0)
        shared = sum(new[name] for name in old)
        assert {name: new[name] / shared for name in old} == pytest.approx(old, abs=0.05)  # a few features share a row now
        assert max(new, key=new.__getitem__) == max(old, key=old.__getitem__)


@pytest.mark.parametrize("classes", [2, 3, 8, 9, 17, 100])
def test_a_grown_model_survives_its_arrays(classes: int) -> None:
    model = taught(SMALL, stream(classes))
    again = HashedSoftmax.from_arrays(model.arrays(), model.classes, memory_mib=1, learning_rate=0.2)
    assert state(again) == state(model)
    for twin in (model, again):
        twin.learn_one("one more", f"class {classes}")
    assert state(again) == state(model)


def test_growing_adds_each_two_neighbouring_rows() -> None:
    model = taught(SMALL, stream(8))
    table, squares, calibrator, counts = model._table.copy(), model._squares.copy(), model._calibrator.copy(), model._counts.copy()
    model._add_class("ninth")
    assert model._table.shape == (len(table) // 2, 16)
    assert np.array_equal(model._table[:, :8], table[0::2] + table[1::2])
    assert np.array_equal(model._squares, squares[0::2] + squares[1::2])
    assert not model._table[:, 8:].any()
    assert np.array_equal(model._calibrator, calibrator)
    assert np.array_equal(model._counts[:8], counts)


@pytest.mark.parametrize("memory_mib", [1, 4, HashedSoftmax().memory_mib])
@pytest.mark.parametrize("classes", [1, 2, 3, 9, 100, 1000, MOST_CLASSES])
def test_memory_stays_within_the_setting_for_any_number_of_classes(classes: int, memory_mib: int) -> None:
    model = HashedSoftmax(memory_mib=memory_mib)
    assert model.memory_bytes <= memory_mib * 2**20
    for c in range(classes):
        model._add_class(f"class {c}")
        assert model.memory_bytes <= memory_mib * 2**20
    model.learn_one("some text", "class 0")
    assert len(model.predict_proba_one("some text")) == classes
    assert model.capacity >= classes
    assert model.memory_bytes > memory_mib * 2**20 // 4  # what there is, is used
    restored = HashedSoftmax.from_arrays(model.arrays(), model.classes, memory_mib=memory_mib)
    assert restored.memory_bytes == model.memory_bytes


def test_the_default_takes_no_more_than_64_mib() -> None:
    assert HashedSoftmax().memory_bytes <= 64 * 2**20


def test_one_class_more_than_the_most_is_not_learned_and_breaks_nothing() -> None:
    model = HashedSoftmax(memory_mib=4)
    for c in range(MOST_CLASSES):
        model._add_class(c)
    model.learn_one("a text", 3)
    before = state(model)[1]
    model.learn_one("a text", "one too many")
    assert len(model.classes) == MOST_CLASSES
    assert state(model)[1] == before
    assert is_distribution(model.predict_proba_one("a text"))
    model.learn_one("another", MOST_CLASSES - 1)
    assert state(model)[1] != before
    assert len(model.predict_top("a text", 500)) == 500


def test_many_classes_can_be_told_apart() -> None:
    model = HashedSoftmax(memory_mib=4)
    lessons = [(f"topic{c} matter", c) for c in range(100)] * 6
    for text, label in lessons:
        model.learn_one(text, label)
    assert sum(model.predict_one(text) == label for text, label in lessons[:100]) >= 95


def test_balance_helps_the_rare_class() -> None:
    draw = random.Random(3)
    rows = [("rare" if draw.random() < 0.05 else "common", [f"w{draw.randrange(40)}" for _ in range(4)]) for _ in range(600)]
    rows = [(label, [*words, "hint" if label == "rare" or draw.random() < 0.15 else "none"]) for label, words in rows]
    proba = []
    for balance in (0.0, 0.5, 1.0):
        model = HashedSoftmax(memory_mib=1, balance=balance)
        for label, words in rows:
            model.learn_one(" ".join(words), label)
        model._calibrator[:] = HashedSoftmax()._calibrator  # which undoes the weights as far as it can
        proba.append(model.predict_proba_one("hint")["rare"])
    assert proba[0] < proba[1] < proba[2]


def test_weights_by_rarity_are_bounded_and_equal_for_equal_classes() -> None:
    model = HashedSoftmax(memory_mib=1, balance=1.0)
    for n in range(10_000):
        model._counts[0] += n > 0
    model._add_class("often")
    model._add_class("seldom")
    assert model._balancing(0) == pytest.approx(0.5, abs=0.01)
    assert model._balancing(1) == 10.0
    model._counts[:] = 50.0
    assert model._balancing(0) == model._balancing(1) == pytest.approx(1.0, abs=0.01)


def test_labels_are_smoothed() -> None:
    """However often a text is learned, its probability stays below one, and its weights stay small."""
    model = HashedSoftmax(memory_mib=1)
    for _ in range(3000):
        for label in ("a", "b", "c"):
            model.learn_one(f"only {label}", label)
    model._calibrator[:] = HashedSoftmax()._calibrator
    assert 0.95 < model.predict_proba_one("only a")["a"] < 0.995
    assert float(np.abs(model._table).max()) < 10


@pytest.mark.parametrize("value", [1e9, 1e300, -1e300, 1e-9, 1e-300, -0.0, 0, True, np.float32(1e38), 10**400, -(10**400), 5e-324])
@pytest.mark.parametrize("weight", [1.0, 1e6, 1e-300])
def test_numbers_of_any_size_are_learned_and_leave_finite_numbers(value: float, weight: float) -> None:
    model = HashedSoftmax(memory_mib=1)
    for n in range(30):
        model.learn_one({"x": value, "y": n % 3, "z": "word"}, n % 3, weight)
        assert is_distribution(model.predict_proba_one({"x": value, "y": n % 3}))
    assert is_finite(model)
    least = np.finfo(np.float32).tiny
    table = np.abs(model._table[model._table != 0])
    assert not (table < least).any()  # denormal floats, which some CPUs flush to zero


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_number_that_is_none_is_refused_and_leaves_the_model_as_it_was(value: float) -> None:
    model = HashedSoftmax(memory_mib=1)
    model.learn_one({"x": 1.0}, "a")
    before = state(model)
    for label in ("a", "new"):
        with pytest.raises(ValueError, match=r"'x' is .*, not a finite number"):
            model.learn_one({"x": value}, label)
    with pytest.raises(ValueError, match="not a finite number"):
        model.predict_proba_one({"x": value})
    assert state(model) == before


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, 1e7])
def test_a_weight_out_of_bounds_is_refused_and_leaves_the_model_as_it_was(weight: float) -> None:
    model = taught(SMALL, stream(2))
    before = state(model)
    for label in ("class 0", "new"):
        with pytest.raises(ValueError, match=r"weight .* is not from 0 to"):
            model.learn_one("word1", label, weight)
    assert state(model) == before


def test_a_dict_without_or_with_very_many_features() -> None:
    model = HashedSoftmax(memory_mib=1)
    for features in ({}, {f"f{n}": 1.0 for n in range(140_000)}):
        for label in ("a", "b"):
            model.learn_one(features, label)
        assert is_distribution(model.predict_proba_one(features))
    assert is_finite(model)


def test_a_vanishing_weight_leaves_no_denormal_floats() -> None:
    model = taught(SMALL, stream(2))
    before = model.arrays()
    model.learn_one("word1", "class 0", w=1e-300)
    after = model.arrays()
    assert {name for name in before if not np.array_equal(before[name], after[name])} <= {"calibrator"}  # it forgets with every label


@pytest.mark.parametrize(
    "parameters",
    [
        {"memory_mib": 0},
        {"memory_mib": 2**20},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"learning_rate": 1e9},
        {"balance": -0.1},
        {"balance": 1.1},
        {"balance": math.nan},
        {"clean": "stems"},
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(parameters)))):
        HashedSoftmax(**parameters)


def test_warming_up_leaves_no_trace() -> None:
    model = taught(SMALL, stream(2))
    before = state(model)
    warm_up()
    assert state(model) == before
