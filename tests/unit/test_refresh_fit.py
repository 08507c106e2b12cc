"""A refresh's training as a whole: it beats one pass, repeats itself, can be resumed, and its model goes on learning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from batch_model.calibrating import calibrated
from batch_model.candidates import Candidate
from batch_model.fit import FitOptions, Fitted, fit
from batch_model.matrix import Doubles
from batch_model.progress import Doing
from batch_model.rows import LabelledText
from batch_model.search import SearchOptions
from batch_model.training import Hyper
from batch_model.variants import Variant, pack
from online_model.models import OwnModel, restore
from tests.labelled_texts import generated, real

pytestmark = pytest.mark.unit

Bools = npt.NDArray[np.bool_]

SMALL = FitOptions(
    candidates=(
        Candidate(name="shuffled", hyper=None, members=2),
        Candidate(name="softmax", hyper=Hyper(epochs=2), members=1),
        Candidate(name="low-rank", hyper=Hyper(epochs=2, base=1.0, rank=2, rate=0.1), members=1),
    ),
    specification="softmax?memory_mib=8",
)


def one_pass(rows: Sequence[LabelledText]) -> OwnModel:
    model = OwnModel(memory_mib=8)
    for row in rows:
        model.learn_one(row.text, row.label, row.weight)
    return model


def fitted(rows: Sequence[LabelledText], options: FitOptions = SMALL) -> Fitted:
    return fit(rows, one_pass(rows), lambda row: one_pass(rows[:row]), options)


def outcomes(model: OwnModel, rows: Sequence[LabelledText], *, learning: bool) -> tuple[Bools, Doubles]:
    """Return which rows were right, and their log losses; each row is predicted, then learned."""
    own = restore(model.specification, list(model.classes), model.arrays())
    right, losses = [], []
    for row in rows:
        proba = own.predict_proba_one(row.text)
        right.append(max(proba, key=proba.__getitem__) == row.label)
        losses.append(-np.log(max(proba.get(row.label, 0.0), 1e-6)))
        if learning:
            own.learn_one(row.text, row.label)
    return np.array(right), np.array(losses)


@pytest.mark.parametrize("name", ["us_airline", "banking77", "tweeteval_emotion"])
def test_after_a_swap_it_learns_and_is_no_worse_than_the_same_table_frozen(name: str) -> None:
    rows = real(name, 2300)
    found = fitted(rows[:1800])
    learned, learned_loss = outcomes(found.model, rows[1800:], learning=True)
    frozen, frozen_loss = outcomes(found.model, rows[1800:], learning=False)
    better, worse = int((learned & ~frozen).sum()), int((~learned & frozen).sum())
    assert better + worse > 0, "nothing was learned"
    assert worse - better <= 2.0 * np.sqrt(better + worse), "more errors than the frozen table by more than chance explains"
    assert learned_loss.mean() <= frozen_loss.mean() + 0.01
    assert found.metrics["fold_max_abs_diff"] <= 1e-4
    once = outcomes(one_pass(rows[:1800]), rows[1800:], learning=False)[1]
    assert frozen_loss.mean() <= once.mean() + 0.02


def test_probabilities_of_the_model_are_true_on_average() -> None:
    rows = generated(2500)
    found = fitted(rows[:1500])
    top = [found.model.predict_top(row.text, 1) for row in rows[1500:]]
    right = np.mean([row.label in one for row, one in zip(rows[1500:], top, strict=True)])
    assert abs(np.mean([max(one.values()) for one in top]) - right) < 0.05


def test_the_same_rows_and_seed_give_the_same_bytes_and_a_resumed_one_too(tmp_path: Path) -> None:
    rows = generated(400)
    first = fitted(rows)
    options = msgspec.structs.replace(SMALL, folder=tmp_path)
    stages: list[str] = []

    def killed(doing: Doing) -> None:
        stages.append(doing.stage)
        if doing.stage == "training":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(rows, one_pass(rows), lambda row: one_pass(rows[:row]), options, killed)
    again = fitted(rows, options)
    assert again.model.fingerprint() == first.model.fingerprint()
    assert again.parameters == first.parameters
    assert stages[0] == "features"
    assert "candidates" in stages
    other = fitted(rows, msgspec.structs.replace(SMALL, seed=1))
    assert other.model.fingerprint() != first.model.fingerprint()


def test_what_it_says_of_the_validation_part_can_be_counted_again() -> None:
    rows = generated(500)
    found = fitted(rows)
    assert found.validation is not None
    said = found.validation
    assert said.first == 400
    assert [said.classes[place] for place in said.true] == [row.label for row in rows[400:]]
    accuracy = float((said.true == said.predicted).mean())
    assert found.metrics[f"validation_accuracy.{found.candidate}"] == pytest.approx(accuracy)
    assert found.candidate in {"mean", *found.epochs}
    assert set(found.parameters) <= set(found.epochs)


def test_without_a_champion_one_pass_stands_in() -> None:
    rows = generated(400)
    found = fit(rows, None, lambda _row: None, SMALL)
    assert found.model.fingerprint() == fitted(rows).model.fingerprint()
    assert found.model.specification.endswith("memory_mib=8")


def test_few_rows_one_class_and_rare_classes_make_a_model() -> None:
    few = [LabelledText("good morning", "hello"), LabelledText("see you", "bye"), LabelledText("good day", "hello")]
    found = fit(few, None, lambda _row: None, SMALL)
    assert found.validation is None
    assert found.candidate == "mean"
    assert found.model.predict_one("good evening") == "hello"
    same = [LabelledText(f"text {n}", "only") for n in range(200)]
    assert fit(same, None, lambda _row: None, SMALL).model.predict_one("text") == "only"
    late = [*(LabelledText(f"old {n}", "abc"[n % 3]) for n in range(150)), *(LabelledText(f"new {n}", "new") for n in range(50))]
    assert fit(late, None, lambda _row: None, SMALL).model.predict_one("new 77") == "new"
    with pytest.raises(ValueError, match="no rows"):
        fit([], None, lambda _row: None, SMALL)


def test_weights_and_balance_of_the_specification_count() -> None:
    chance = np.random.default_rng(1)
    rows = [LabelledText(f"word{chance.integers(7)} here", "rare" if chance.random() < 0.05 else "often") for _ in range(600)]
    plain = fit(rows, None, lambda _row: None, SMALL).model
    even = fit(rows, None, lambda _row: None, msgspec.structs.replace(SMALL, specification="softmax?balance=1&memory_mib=8")).model
    assert even.predict_proba_one("word3")["rare"] > plain.predict_proba_one("word3")["rare"] + 0.1


def test_rows_of_texts_outside_the_window_stay_the_champion_s_below_a_network_on_top_of_it() -> None:
    rows = generated(600)
    options = msgspec.structs.replace(SMALL, candidates=SMALL.candidates[2:])
    champion = one_pass([LabelledText("zyxwv zyxwv", rows[0].label)] * 30 + rows[:1])
    found = fit(rows[300:], champion, lambda _row: champion, options)
    explained = found.model.explain("zyxwv", rows[0].label)
    assert explained is not None
    assert sum(part.value for part in explained.contributions if "zyxwv" in str(part)) > 0.1


def test_a_search_adds_a_candidate_and_a_variant_is_what_is_returned() -> None:
    options = msgspec.structs.replace(SMALL, search=SearchOptions(seconds=30, trials=2, members=1), variant=Variant("int8", 0.2))
    found = fitted(generated(300), options)
    assert "searched" in found.epochs
    packed = pack(found.model, Variant("int8"))
    assert restore(found.model.specification, list(found.model.classes), packed).fingerprint() == found.model.fingerprint()


def test_calibration_is_not_taken_from_texts_that_were_trained_on() -> None:
    rows = real("tweeteval_emotion", 1200)
    found = fitted(rows)
    assert found.validation is not None
    state, _, _ = calibrated(np.zeros((1, 2)), np.zeros(1, np.int64), np.ones(1, np.float32))
    assert found.model.arrays()["calibrator"].shape == state.shape
    right = (found.validation.true == found.validation.predicted).mean()
    assert abs(found.validation.confidence.mean() - right) < 0.08
