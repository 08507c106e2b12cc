import json
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics

from online_model.prequential import CELLS_MAX, LEAST_PROBABILITY, NAMES_MAX, OTHERS, Prequential, score
from schemas.records import ModelVersion, Scores, Served

pytestmark = pytest.mark.unit

VERSION = ModelVersion(line="base", seq=1)
NAMES = "abcd"


def served(proba: dict[str, float], classes: int | None = None) -> Served:
    return Served(label=max(proba, key=proba.__getitem__, default=None), proba=proba, classes=classes or len(proba), model=VERSION)


outcomes = st.lists(
    st.tuples(
        st.sampled_from([*NAMES, *NAMES, None]),
        st.dictionaries(st.sampled_from(NAMES), st.floats(min_value=0.0, max_value=0.25), max_size=4).map(served),
        st.sampled_from([1.0, 0.1, 3.7]),
    ),
    max_size=40,
).map(lambda rows: [row for row in rows if row[0] is not None or row[1].label is not None])
Outcomes = list[tuple[str | None, Served, float]]


def recount(rows: Outcomes) -> Scores:
    """Accuracy, macro F1 and log loss by their definitions, class by class over the rows; a `wrong` has no true class."""
    weight = sum(w for _, _, w in rows)
    f1 = {}
    for name in {t for t, _, _ in rows if t is not None} | {s.label for _, s, _ in rows if s.label is not None}:
        hit = sum(w for t, s, w in rows if t == name == s.label)
        wrong = sum(w for t, s, w in rows if (t == name) != (s.label == name))
        f1[name] = 2 * hit / (2 * hit + wrong)
    return Scores(
        labels=len(rows),
        accuracy=sum(w for t, s, w in rows if t is not None and t == s.label) / weight,
        macro_f1=sum(f1.values()) / len(f1),
        log_loss=sum(w * score(t, s).log_loss for t, s, w in rows) / weight,
        per_class={},
    )


def added(rows: Outcomes, window: int) -> Prequential:
    quality = Prequential(window)
    for true, prediction, weight in rows:
        quality.add(true, prediction, weight)
    return quality


def assert_close(got: Scores, expected: Scores) -> None:
    assert got.labels == expected.labels
    for name in ("accuracy", "macro_f1", "log_loss"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-12)


@given(outcomes.filter(bool), st.integers(min_value=1, max_value=50))
def test_scores_equal_a_recount(rows: Outcomes, window: int) -> None:
    quality = added(rows, window)
    assert_close(quality.overall(), recount(rows))
    assert_close(quality.scores_window(), recount(rows[-window:]))


@given(outcomes.map(lambda rows: [row for row in rows if row[0] and row[1].label]).filter(bool))
def test_macro_f1_is_that_of_river(rows: Outcomes) -> None:
    macro: Any = metrics.MacroF1  # River has no types here
    macro = macro()
    for true, prediction, weight in rows:
        macro.update(true or "", prediction.label or "", weight)
    assert added(rows, 1).overall().macro_f1 == pytest.approx(macro.get())


@given(outcomes, st.integers(min_value=0, max_value=40), st.integers(min_value=1, max_value=10))
def test_a_stored_evaluation_goes_on_as_one_that_was_not(rows: Outcomes, cut: int, window: int) -> None:
    straight = added(rows, window)
    resumed = Prequential.from_dict(json.loads(json.dumps(added(rows[:cut], window).to_dict())))
    for true, prediction, weight in rows[cut:]:
        resumed.add(true, prediction, weight)
    assert resumed == straight
    assert resumed.overall() == straight.overall()
    assert resumed.scores_window() == straight.scores_window()


def test_support_and_recall_of_each_class() -> None:
    quality = added([("a", served({"a": 0.9}, 2), 1.0), ("a", served({"b": 0.9}, 2), 1.0), ("b", served({"b": 0.9}, 2), 1.0)], 9)
    a = quality.overall().per_class["a"]
    assert (a.precision, a.recall, a.support) == (1.0, 0.5, 2.0)
    assert a.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("true", "prediction", "probability"),
    [
        ("a", served({"a": 0.75, "b": 0.25}), 0.75),
        ("c", served({"a": 0.5, "b": 0.25}, classes=7), 0.05),
        ("new", served({"a": 0.5, "b": 0.5}), LEAST_PROBABILITY),
        ("new", served({"a": 0.500001, "b": 0.5}, classes=3), LEAST_PROBABILITY),
        ("new", served({}), LEAST_PROBABILITY),
        ("a", served({"a": 1.0}), 1.0),
        (None, served({"a": 0.75, "b": 0.25}), 0.25),
        (None, served({"a": 0.4}, classes=9), 0.6),
        (None, served({"a": 1.0}), LEAST_PROBABILITY),
    ],
)
def test_log_loss_of_the_served_prediction(true: str | None, prediction: Served, probability: float) -> None:
    assert score(true, prediction).log_loss == pytest.approx(-math.log(probability))


def test_no_labels_no_scores() -> None:
    assert Prequential(5).overall() == Scores(labels=0, accuracy=0.0, macro_f1=0.0, log_loss=0.0, per_class={})


def test_a_model_without_classes_is_wrong_but_adds_no_class() -> None:
    per_class = added([("a", served({}), 1.0)], 5).overall().per_class
    assert {name: quality.recall for name, quality in per_class.items()} == {"a": 0.0}


def test_a_wrong_is_an_error_and_a_false_positive_and_adds_no_class() -> None:
    right = added([("a", served({"a": 0.9}, 2), 1.0), ("b", served({"b": 0.9}, 2), 1.0)], 9)
    right.add(None, served({"a": 0.9}, 2), 2.0)
    for scores in (right.overall(), right.scores_window()):
        assert (scores.labels, scores.accuracy, set(scores.per_class)) == (3, 0.5, {"a", "b"})
        a = scores.per_class["a"]
        assert (round(a.precision, 9), a.recall, a.support, scores.per_class["b"].f1) == (round(1 / 3, 9), 1.0, 1.0, 1.0)
    assert right.overall().log_loss == pytest.approx((-2 * math.log(0.9) - 2 * math.log(0.1)) / 4)


def test_scores_stay_bounded_however_many_labels_there_are() -> None:
    draw = random.Random(3)
    quality = Prequential(window=10)
    right = 0
    count = NAMES_MAX + CELLS_MAX + 2000
    for number in range(count):
        true = None if draw.random() < 0.1 else str(draw.choice([number, draw.randrange(300)]))
        said = true if true and draw.random() < 0.3 else str(draw.randrange(4000))
        right += true == said
        quality.add(true, served({said: 1.0}), 1.0)
        if number % 500 == 0:
            quality = Prequential.from_dict(quality.to_dict())
    scores = quality.overall()
    assert scores.accuracy == pytest.approx(right / count)
    assert len(scores.per_class) <= NAMES_MAX + 2
    assert OTHERS in scores.per_class
    assert len(quality.stored().cells) <= CELLS_MAX + 2 * NAMES_MAX
    assert len(msgspec.json.encode(quality.stored())) < 2**20


def test_bounds_do_not_depend_on_where_it_was_stored() -> None:
    draw = random.Random(4)
    whole, cut = Prequential(window=10), Prequential(window=10)
    for number in range(4000):
        true, said = str(draw.randrange(3 * NAMES_MAX)), str(draw.randrange(3 * NAMES_MAX))
        for quality in (whole, cut):
            quality.add(true, served({said: 1.0}), 1.0)
        if number % 997 == 0:
            cut = Prequential.from_dict(cut.to_dict())
    assert cut == whole
