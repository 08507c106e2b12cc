"""Any classifier of River behind the common interface, and its snapshots, which are pickles and need leave."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import random
import subprocess
import sys
from typing import Any

import pytest
import river
from river import base, feature_extraction, linear_model, multiclass, naive_bayes

from online_model import snapshots
from online_model.models import build, restore
from online_model.replica import Replica, SnapshotError
from online_model.river_model import RiverModel, words_and_pairs
from online_model.specification import SpecificationError
from schemas.log import LabelEntry
from schemas.records import FeedbackRef, Position, Served

pytestmark = pytest.mark.unit

NB = "river:naive_bayes.MultinomialNB?alpha=0.5"
SPECIFICATIONS = [
    NB,
    "river:naive_bayes.ComplementNB?text=words",
    "river:linear_model.SoftmaxRegression?optimizer=optim.AdaGrad(lr=0.3)",
    "river:linear_model.LogisticRegression",
    "river:linear_model.PAClassifier?text=tfidf-words",
    "river:tree.HoeffdingTreeClassifier",
    "river:forest.ARFClassifier?n_models=3",
    "river:neighbors.KNNClassifier",
    "river:multiclass.OneVsOneClassifier?classifier=linear_model.LogisticRegression(l2=0.1)",
    "river:ensemble.VotingClassifier?models=[naive_bayes.MultinomialNB,naive_bayes.ComplementNB]",
    "river:ensemble.BaggingClassifier?model=naive_bayes.MultinomialNB&n_models=2&text=tfidf-pairs",
]
every_model = pytest.mark.parametrize("specification", SPECIFICATIONS)


def lessons(count: int = 60) -> list[tuple[str, str]]:
    draw = random.Random(3)
    return [(f"word{c} and other{draw.randrange(9)} Things", f"class {c}") for c in (n % 3 for n in range(count))]


def entry(seq: int, text: str, label: str, served: Served) -> LabelEntry:
    at = FeedbackRef(at=Position(partition=0, offset=seq))
    return LabelEntry(
        seq=seq, task="t", time=seq, event_id=str(seq), text=text, meta={}, label=label, weight=1.0, served=served, feedback=at
    )


def taught(specification: str, count: int = 60) -> Replica:
    replica = Replica("t", model=specification)
    for seq, (text, label) in enumerate(lessons(count), start=1):
        replica.apply(entry(seq, text, label, replica.predict(text, top=3)))
    return replica


@every_model
@pytest.mark.parametrize("text", ["", "word1", "ภาษาไทย", "👍🏽", "\x00", "Things " * 1000, "\ud800"])
def test_any_text_can_be_predicted_and_learned_also_first(specification: str, text: str) -> None:
    model = build(specification)
    assert model.predict_top(text, 3) == model.predict_proba_one(text) == {}
    for label in ("a", "b", "a"):
        model.learn_one(text, label)
        proba = model.predict_proba_one(text)
        assert list(proba) == model.classes
        assert sum(proba.values()) == pytest.approx(1)
        assert all(type(p) is float and p >= 0 for p in proba.values())


@every_model
def test_the_same_labels_make_the_same_model(specification: str) -> None:
    first, second = taught(specification), taught(specification)
    assert first.fingerprint() == second.fingerprint()
    assert first.quality == second.quality
    assert first.predict("word1 and other3", top=3) == second.predict("word1 and other3", top=3)
    assert first.fingerprint() != taught(specification, 59).fingerprint()


@every_model
def test_the_most_probable_come_first_and_predicting_changes_nothing(specification: str) -> None:
    model = taught(specification).model
    before = model.fingerprint()
    for text, _ in lessons(9):
        proba = model.predict_proba_one(text)
        top = model.predict_top(text, 2)
        assert list(top) == sorted(proba, key=proba.__getitem__, reverse=True)[:2]
        assert all(top[name] == pytest.approx(proba[name], abs=1e-6) for name in top)
    assert model.fingerprint() == before


def test_it_says_what_the_same_pipeline_of_river_says() -> None:
    ours = build(NB)
    theirs: Any = feature_extraction.BagOfWords(tokenizer=words_and_pairs) | naive_bayes.MultinomialNB(alpha=0.5)  # type: ignore[no-untyped-call]  # River's
    for text, label in lessons():
        expected = theirs.predict_proba_one(text)
        assert ours.predict_proba_one(text) == pytest.approx(expected)
        theirs.learn_one(text, label)
        ours.learn_one(text, label)
    assert theirs["MultinomialNB"].n_terms > 20


def test_a_classifier_of_two_classes_is_used_once_for_each_class() -> None:
    ours = build("river:linear_model.LogisticRegression?text=words")
    theirs: Any = feature_extraction.BagOfWords() | multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
    for text, label in lessons():
        theirs.learn_one(text, label)
        ours.learn_one(text, label)
    assert ours.predict_proba_one("word1 and Things") == pytest.approx(theirs.predict_proba_one("word1 and Things"))


def test_a_weight_reaches_a_classifier_that_takes_one() -> None:
    plain, weighty = (build("river:linear_model.LogisticRegression") for _ in range(2))
    for text, label in lessons():
        plain.learn_one(text, label)
        weighty.learn_one(text, label, 3.0 if label == "class 1" else 1.0)
    assert weighty.predict_proba_one("word1")["class 1"] > plain.predict_proba_one("word1")["class 1"]


def test_the_same_bytes_in_another_process() -> None:
    """Strings hash differently in each process: nothing learned may depend on it."""
    program = (
        "from tests.unit.test_online_model_river import SPECIFICATIONS, taught\n"
        "print([taught(s).predict('word1 and other3', top=3).proba for s in SPECIFICATIONS])"
    )
    said = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert said == {f"{[taught(s).predict('word1 and other3', top=3).proba for s in SPECIFICATIONS]}\n"}


@every_model
def test_a_snapshot_and_the_log_after_it_are_the_model(specification: str) -> None:
    straight, cut = taught(specification), taught(specification, 25)
    resumed = Replica.from_snapshot(cut.snapshot(), allow_pickle=True)
    assert resumed.model.specification == straight.model.specification
    for seq, (text, label) in enumerate(lessons(), start=1):
        resumed.apply(entry(seq, text, label, resumed.predict(text, top=3)))
    assert resumed.quality == straight.quality
    assert resumed.fingerprint() == straight.fingerprint()
    for text, _ in lessons(9):
        assert resumed.predict(text, top=3) == straight.predict(text, top=3)


def test_every_classifier_of_river_that_needs_no_other_model_can_be_used() -> None:
    found = []
    for module in sorted(info.name for info in pkgutil.iter_modules(river.__path__) if info.name != "test_estimators"):
        for name, kind in inspect.getmembers(importlib.import_module(f"river.{module}"), inspect.isclass):
            if issubclass(kind, base.Classifier) and not inspect.isabstract(kind) and kind.__module__.startswith(f"river.{module}"):
                try:
                    model = build(f"river:{module}.{name}")
                except SpecificationError as error:
                    assert f"{name} needs " in str(error)  # noqa: PT017 - what it needs cannot have a default
                    continue
                found.append(model)
                for label in ("b", "a", "c"):
                    model.learn_one("another text", label)
                assert sum(model.predict_proba_one("text").values()) == pytest.approx(1)
    assert len(found) >= 24


class Bomb:
    """What a pickle can do: it runs code when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the bomb went off')",)


def test_no_pickle_is_loaded_without_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = taught(NB, 5)
    assert isinstance(replica.model, RiverModel)
    replica.model._classifier = Bomb()
    data = replica.snapshot()
    with pytest.raises(SystemExit, match="the bomb went off"):
        Replica.from_snapshot(data, allow_pickle=True)
    with pytest.raises(SnapshotError, match="MILLRACE_ALLOW_PICKLE"):
        Replica.from_snapshot(data)

    def never(*_: object) -> None:
        raise AssertionError("a pickle was loaded")

    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    with pytest.raises(SnapshotError, match="MILLRACE_ALLOW_PICKLE"):
        Replica.from_snapshot(data)


def test_a_pickle_of_another_river_or_a_broken_one_is_refused() -> None:
    header, arrays = snapshots.decode(taught(NB, 5).snapshot())
    arrays = snapshots.arrays_of(0, arrays)
    (array,) = arrays.values()
    for wrong, reason in (
        ({"pickle-river-0.1": array}, "it holds pickle-river-0.1, not pickle-river"),
        (dict.fromkeys(arrays, array[:-9]), "its pickle cannot be loaded"),
        ({}, "it holds nothing"),
    ):
        with pytest.raises(SnapshotError, match=reason):
            Replica.from_snapshot(snapshots.encode(header, snapshots.prefixed(0, wrong)), allow_pickle=True)
        with pytest.raises(ValueError, match=reason):
            restore(NB, ["a"], wrong, allow_pickle=True)
