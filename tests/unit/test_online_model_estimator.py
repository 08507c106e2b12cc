"""The own engine as an estimator of River's: its own checks, unmodified and none skipped, mini-batches, pipelines, streams."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # it ships no types
import pytest
from river import base as river_base
from river import checks, compose, datasets, evaluate, metrics, preprocessing

from online_model.softmax import HashedSoftmax

pytestmark = pytest.mark.unit


def lessons(count: int = 120) -> list[tuple[str, str]]:
    draw = random.Random(5)
    return [(f"Word{c} and other{draw.randrange(20)} {draw.randrange(99)}", f"class {c}") for c in (n % 4 for n in range(count))]


def fingerprint(model: HashedSoftmax) -> tuple[list[Any], list[bytes]]:
    return model.classes, [array.tobytes() for _, array in sorted(model.arrays().items())]


def taught(rows: list[tuple[Any, Any]]) -> HashedSoftmax:
    model = HashedSoftmax()
    for x, y in rows:
        model.learn_one(x, y)
    return model


ALL_CHECKS = list(checks.yield_checks(HashedSoftmax()))
STANDARDISED = list(checks.yield_checks(preprocessing.StandardScaler() | HashedSoftmax()))


def named(given: list[Callable[[Any], None]]) -> Any:
    return [pytest.param(check, id=f"{check.__name__}-{number}") for number, check in enumerate(given)]


@pytest.mark.parametrize("check", named(ALL_CHECKS))
def test_check_of_river(check: Callable[[Any], None]) -> None:
    check(HashedSoftmax().clone())


@pytest.mark.parametrize("check", named(STANDARDISED))
def test_check_of_river_behind_a_scaler(check: Callable[[Any], None]) -> None:
    check((preprocessing.StandardScaler() | HashedSoftmax()).clone())


def test_none_of_the_checks_is_skipped() -> None:
    model = HashedSoftmax()
    assert model._unit_test_skips() == set()
    assert list(model._unit_test_params()) == [{}]
    checks.check_estimator(model)
    names = {check.__name__ for check in ALL_CHECKS}
    assert {"check_learn_one", "check_pickling", "check_shuffle_features_no_impact", "check_predict_proba_one"} <= names
    assert isinstance(model, river_base.Classifier)
    assert isinstance(model, river_base.MiniBatchClassifier)


@pytest.mark.parametrize("size", [1, 7, 120])
def test_a_mini_batch_of_texts_teaches_what_its_texts_teach(size: int) -> None:
    rows, model = lessons(), HashedSoftmax()
    for start in range(0, len(rows), size):
        batch = pd.DataFrame(rows[start : start + size], columns=["text", "label"])
        model.learn_many(batch["text"], batch["label"])
    assert fingerprint(model) == fingerprint(taught(rows))


@pytest.mark.parametrize("size", [1, 50, 200])
def test_a_mini_batch_of_named_features_teaches_what_its_rows_teach(size: int) -> None:
    rows: list[tuple[Any, Any]] = list(datasets.ImageSegments().take(200))  # type: ignore[no-untyped-call]  # River's
    model = HashedSoftmax()
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        model.learn_many(pd.DataFrame([x for x, _ in part]), pd.Series([y for _, y in part]))
    assert fingerprint(model) == fingerprint(taught(rows))


def test_mini_batches_may_have_other_columns_than_those_before() -> None:
    rows: list[tuple[Any, Any]] = list(datasets.ImageSegments().take(100))  # type: ignore[no-untyped-call]  # River's
    names = list(rows[0][0])
    many, one = HashedSoftmax(), HashedSoftmax()
    for number, columns in enumerate((names[:9], names, names[9:], names[:1], names[::-1])):
        part = [({name: x[name] for name in columns}, y) for x, y in rows[20 * number : 20 * number + 20]]
        many.learn_many(pd.DataFrame([x for x, _ in part]), pd.Series([y for _, y in part]))
        for x, y in part:
            one.learn_one(x, y)
    assert fingerprint(many) == fingerprint(one)


def test_mini_batches_are_predicted_as_their_rows_are() -> None:
    rows = lessons()
    model = taught(rows)
    texts = pd.Series([text for text, _ in rows[:30]], index=range(100, 130))
    found = model.predict_proba_many(texts)
    assert list(found.index) == list(texts.index)
    assert list(found.columns) == model.classes
    assert found.to_dict(orient="records") == [model.predict_proba_one(text) for text in texts]
    assert model.predict_many(texts).tolist() == [model.predict_one(text) for text in texts]

    table = pd.DataFrame([{"a": n % 4, "b": 0.5} for n in range(20)])
    numbers = taught([({"a": n % 4, "b": 0.5}, n % 4 > 1) for n in range(40)])
    assert numbers.predict_proba_many(table).to_dict(orient="records") == [
        numbers.predict_proba_one(row) for row in table.to_dict(orient="records")
    ]
    assert numbers.predict_many(table).tolist() == [numbers.predict_one(row) for row in table.to_dict(orient="records")]


def test_nothing_learned_and_nothing_asked() -> None:
    model = HashedSoftmax()
    assert model.predict_proba_many(pd.Series(["a", "b"])).shape == (2, 0)
    model.learn_many(pd.Series([], dtype=str), pd.Series([], dtype=str))
    assert model.classes == []
    model.learn_one("a", "b")
    assert model.predict_proba_many(pd.Series([], dtype=str)).shape == (0, 1)
    with pytest.raises(ValueError, match="zip"):
        model.learn_many(pd.Series(["a", "b"]), pd.Series(["x"]))


def test_texts_and_named_features_can_teach_one_model() -> None:
    model = taught([("good day", "a"), ({"length": 3.5, "language": "de"}, "b")])
    assert set(model.predict_proba_one("good day")) == set(model.predict_proba_one({"length": 3.5})) == {"a", "b"}
    assert model.predict_one({"length": 3.5, "language": "de"}) == "b"


def test_a_clone_is_untaught_and_has_the_parameters() -> None:
    model = HashedSoftmax(memory_mib=2, learning_rate=0.3, balance=0.5, clean="nfkc")
    model.learn_one("text", "label")
    clone = model.clone()
    assert clone._get_params() == model._get_params()
    assert (clone.classes, clone.predict_proba_one("text")) == ([], {})
    assert model.clone({"memory_mib": 3}).memory_mib == 3
    assert model.clone(include_attributes=True)._get_params() == model._get_params()


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])  # noqa: S301 - our own bytes
def test_a_copy_is_the_model_and_goes_its_own_way(copied: Callable[[HashedSoftmax], HashedSoftmax]) -> None:
    model = taught(lessons())
    before = fingerprint(model)
    twin = copied(model)
    assert fingerprint(twin) == before
    assert twin.predict_proba_one("Word1") == model.predict_proba_one("Word1")
    twin.learn_one("Word1 and", "class 9")
    assert fingerprint(twin) != before
    assert fingerprint(model) == before
    model.learn_one("Word1 and", "class 9")
    assert fingerprint(twin) == fingerprint(model)


def test_a_pipeline_with_a_transformer_of_texts() -> None:
    strip: Any = lambda text: text.strip("* ")  # noqa: E731 - River takes the function itself
    pipeline: Any = compose.FuncTransformer(strip) | HashedSoftmax()
    plain = taught(lessons())
    for text, label in lessons():
        pipeline.learn_one(f"** {text} *", label)
    for text, _ in lessons(8):
        assert pipeline.predict_proba_one(f"*{text}") == plain.predict_proba_one(text)
    assert pipeline.predict_one("*Word3 and*") == "class 3"


def test_a_pipeline_with_transformers_of_named_features() -> None:
    pipeline: Any = compose.Select("a", "b") | preprocessing.StandardScaler() | HashedSoftmax()
    numbers: Any = compose.SelectType(float, int) | preprocessing.StandardScaler()
    mixed: Any = (compose.SelectType(str) + numbers) | HashedSoftmax()
    for n in range(200):
        x = {"a": n % 5, "b": float(n % 2) * 1000, "c": "odd" if n % 3 else "even"}
        pipeline.learn_one(x, n % 2)
        mixed.learn_one(x, n % 3 > 0)
    assert pipeline.predict_one({"a": 2, "b": 1000.0, "c": "?"}) == 1
    assert pipeline.predict_one({"a": 2, "b": 0.0, "c": "?"}) == 0
    assert mixed.predict_one({"a": 2, "b": 0.0, "c": "even"}) is False


def test_a_pipeline_takes_mini_batches() -> None:
    pipeline: Any = preprocessing.StandardScaler() | HashedSoftmax()
    rows = list(datasets.Phishing().take(300))
    table, labels = pd.DataFrame([x for x, _ in rows]), pd.Series([y for _, y in rows])
    for start in range(0, 200, 50):
        pipeline.learn_many(table[start : start + 50], labels[start : start + 50])
    found = pipeline.predict_many(table[200:])
    assert (found.to_numpy() == labels[200:].to_numpy()).mean() > 0.7


def test_rivers_progressive_evaluation() -> None:
    def score(rows: Any, model: Any, metric: Any) -> float:
        return float(evaluate.progressive_val_score(rows, model, metric).get())

    assert score(lessons(400), HashedSoftmax(), metrics.Accuracy()) > 0.9  # type: ignore[no-untyped-call]  # River's
    assert score(datasets.Phishing(), preprocessing.StandardScaler() | HashedSoftmax(), metrics.ROCAUC()) > 0.9  # type: ignore[no-untyped-call]  # River's
    assert score(datasets.ImageSegments(), preprocessing.StandardScaler() | HashedSoftmax(), metrics.MacroF1()) > 0.7  # type: ignore[no-untyped-call]  # River's
