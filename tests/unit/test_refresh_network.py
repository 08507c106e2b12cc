"""Features as a matrix, the network over them, and its fold into a table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from batch_model.fold import fold_difference, folded, network_scores
from batch_model.matrix import Doubles, Matrix, TooLarge, matrix_of
from batch_model.network import Network, device_for
from batch_model.tables import full_table, known_classes, made, untaught
from batch_model.training import Hyper, Samples, trained
from online_model import calibration
from online_model.models import OwnModel
from online_model.softmax import HashedSoftmax
from tests.labelled_texts import generated, real

pytestmark = pytest.mark.unit

TEXTS = ["eating, heating, and please please", "", "เมื่อไหร่จะมาถึง 90s", "when does it leave? when?", "\ud800 lone"]


def taught(count: int = 400) -> OwnModel:
    model = OwnModel(memory_mib=1)
    for row in generated(count):
        model.learn_one(row.text, row.label)
    return model


def logits(model: HashedSoftmax, text: str) -> Doubles:
    explained = [model.explain(text, name) for name in model.classes]
    return np.array([one.logit for one in explained if one is not None])


def test_the_matrix_times_the_table_is_what_serving_scores() -> None:
    model = taught()
    texts = [*TEXTS, *(row.text for row in generated(50, seed=2))]
    matrix = matrix_of(texts, model)
    table, _ = full_table(model, model)
    scores = matrix.scores(table[matrix.rows])
    for text, score in zip(texts, scores, strict=True):
        assert logits(model, text) == pytest.approx(score, abs=1e-4)


def test_features_of_a_text_that_share_a_row_are_added() -> None:
    model = OwnModel(memory_mib=1)
    matrix = matrix_of(TEXTS, model)
    assert len(matrix) == len(TEXTS)
    for text in range(len(TEXTS)):
        part = matrix.columns[matrix.starts[text] : matrix.starts[text + 1]]
        assert (np.diff(part) > 0).all()
    rows, values = model.features_of(TEXTS[0])
    assert rows.size > np.unique(rows).size, "no text with a shared row: the test says nothing"
    dense = np.bincount(rows, values, minlength=model.rows)[matrix.rows]
    _, columns, found = matrix.taken(np.array([0]))
    assert found == pytest.approx(dense[columns], rel=1e-6)
    assert found.sum() == pytest.approx(values.sum(), rel=1e-6)


def test_taking_texts_gives_them_in_that_order_and_a_part_is_itself() -> None:
    matrix = matrix_of(TEXTS, OwnModel(memory_mib=1))
    starts, columns, values = matrix.taken(np.array([3, 0]))
    for place, text in enumerate((3, 0)):
        own = slice(int(matrix.starts[text]), int(matrix.starts[text + 1]))
        assert columns[starts[place] : starts[place + 1]].tolist() == matrix.columns[own].tolist()
        assert values[starts[place] : starts[place + 1]].tolist() == matrix.values[own].tolist()
    table = np.random.default_rng(1).normal(size=(matrix.rows.size, 3))
    assert matrix.part(2, 4).scores(table).tolist() == matrix.scores(table)[2:4].tolist()


def test_more_features_than_are_allowed_are_refused_in_words() -> None:
    with pytest.raises(TooLarge, match="1 MiB"):
        matrix_of([row.text for row in generated(3000)], OwnModel(memory_mib=1), memory_mib=1)


def random_matrix(chance: np.random.Generator, rows: int = 300, texts: int = 80) -> Matrix:
    sizes = chance.integers(0, 60, texts)
    columns = np.concatenate([np.sort(chance.choice(rows, size, replace=False)) for size in sizes])
    values = chance.normal(size=columns.size).astype(np.float32)
    return Matrix(np.concatenate(([0], np.cumsum(sizes))), columns.astype(np.int32), values, np.arange(rows) * 3)


@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("with_base", [False, True])
def test_a_network_folds_into_a_table_on_random_texts(rank: int, with_base: bool) -> None:
    chance = np.random.default_rng(rank + 10 * with_base)
    matrix = random_matrix(chance)
    base = chance.normal(size=(300, 9)).astype(np.float32) if with_base else None
    network = Network(300, 9, rank=rank, base=base, scale=chance.uniform(0.2, 3.0, 300).astype(np.float32), dropout=0.5)
    with torch.no_grad():
        network.embedding.weight.normal_()
    table = folded(network)
    assert table.dtype == np.float32
    assert table.shape == (300, 9)
    assert fold_difference(network, table, matrix) <= 1e-4
    assert np.abs(network_scores(network, matrix) - matrix.scores(table)).max() <= 1e-3, "in float32, by sums in another order"
    table[matrix.columns[0]] += 1.0
    assert fold_difference(network, table, matrix) > 1e-4


@pytest.mark.parametrize("name", ["snips7", "us_airline", "spamassassin_dated"])
def test_a_trained_network_folds_on_real_texts(name: str) -> None:
    rows = real(name, 240)
    classes = known_classes([row.label for row in rows], None)
    model = untaught("softmax?memory_mib=8", classes)
    matrix = matrix_of([row.text for row in rows], model)
    champion = OwnModel(memory_mib=8)
    for row in rows[:160]:
        champion.learn_one(row.text, row.label)
    base = full_table(champion, model)[0][matrix.rows]
    network = Network(matrix.rows.size, len(classes), rank=2, base=base)
    targets = np.array([classes.index(row.label) for row in rows])
    samples = Samples(matrix, targets, np.ones(len(rows), np.float32), 160, len(classes))
    trained(network, samples, Hyper(epochs=2, rank=2), seed=1)
    table = folded(network)
    assert np.abs(table - base).max() > 1e-3, "nothing was trained"
    assert fold_difference(network, table, matrix) <= 1e-4


def test_an_untrained_network_is_the_champion() -> None:
    chance = np.random.default_rng(3)
    matrix, base = random_matrix(chance), chance.normal(size=(300, 4)).astype(np.float32)
    network = Network(300, 4, rank=2, base=base)
    assert network_scores(network, matrix) == pytest.approx(matrix.scores(base), abs=1e-4)


def test_a_champion_with_fewer_classes_and_more_rows_keeps_its_scores() -> None:
    champion = OwnModel(memory_mib=1)
    for row in [row for row in generated(600) if row.label in ("billing", "delivery")]:
        champion.learn_one(row.text, row.label)
    for n in range(60):
        champion.learn_one(f"word{n} about it", ["a", "b"][n % 2])
    classes = [f"new{n}" for n in range(40)]
    like = untaught(champion.specification, known_classes(classes, champion))
    assert like.rows < champion.rows
    table, squares = full_table(champion, like)
    model = made(like, table, squares, calibrator=calibration.initial(), counts=np.zeros(len(like.classes)))
    grown = OwnModel.from_arrays(champion.arrays(), list(champion.classes), memory_mib=1)
    for name in classes:
        grown.learn_one("", name, 0.0)
    for text in TEXTS:
        known = len(champion.classes)
        assert logits(model, text)[:known] == pytest.approx(logits(grown, text)[:known], abs=1e-4)


def test_a_device_that_is_not_there_is_refused_in_words() -> None:
    assert device_for("cpu").type == "cpu"
    with pytest.raises(ValueError, match="abacus"):
        device_for("abacus")
