"""Training repeats itself, stops early, and goes on from its checkpoints; candidates are means; the validation part decides."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from batch_model import candidates
from batch_model.blending import MEAN, best_blend, blends, combined
from batch_model.calibrating import calibrated
from batch_model.candidates import Candidate, Means, rarity, table_of
from batch_model.checkpoints import Epoch, State, load, save
from batch_model.fold import network_scores
from batch_model.matrix import matrix_of
from batch_model.metrics import fitted_scale, log_loss, softmax
from batch_model.optimiser import RowAdaGrad
from batch_model.prepared import balancing
from batch_model.search import SearchOptions, searched
from batch_model.tables import known_classes, untaught
from batch_model.training import Hyper, Samples, best_of, trained
from tests.labelled_texts import generated

pytestmark = pytest.mark.unit

ONES = np.ones(6000, np.float32)


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def samples() -> Samples:
    torch.set_num_threads(1)
    rows = generated(700)
    classes = known_classes([row.label for row in rows], None)
    matrix = matrix_of([row.text for row in rows], untaught("softmax?memory_mib=1", classes))
    targets = np.array([classes.index(row.label) for row in rows])
    return Samples(matrix, targets, np.ones(len(rows), np.float32), 550, len(classes))


def means(folder: Path | None = None, seed: int = 1) -> Means:
    return Means(device=torch.device("cpu"), seed=seed, folder=folder, data="here")


def test_the_same_seed_gives_the_same_table_and_another_one_another(samples: Samples) -> None:
    hyper = Hyper(rank=3, epochs=2, dropout=0.2)
    candidate = Candidate(name="it", hyper=hyper, members=2)
    first, again, other = (table_of(candidate, hyper, samples, None, means(seed=seed)) for seed in (1, 1, 2))
    assert first.table.tobytes() == again.table.tobytes()
    assert first.table.tobytes() != other.table.tobytes()
    assert first.fold_max_abs_diff <= 1e-4


@pytest.mark.parametrize("rank", [0, 3])
def test_a_training_that_is_killed_goes_on_to_the_same_result(samples: Samples, tmp_path: Path, rank: int) -> None:
    hyper = Hyper(rank=rank, epochs=4, dropout=0.2, patience=9)
    candidate = Candidate(name="it", hyper=hyper, members=2)
    whole = table_of(candidate, hyper, samples, None, means())
    seen: list[tuple[int, int]] = []

    def killed(_name: str, number: int, epoch: Epoch) -> None:
        seen.append((number, epoch.epoch))
        if len(seen) in (3, 6):
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            table_of(candidate, hyper, samples, None, means(tmp_path), report=killed)
    resumed = table_of(candidate, hyper, samples, None, means(tmp_path), report=killed)
    assert resumed.table.tobytes() == whole.table.tobytes()
    assert resumed.passes == whole.passes
    assert seen.count((0, 1)) == 1, "the first pass was not taken from the checkpoint"
    assert [[e.loss for e in member] for member in resumed.epochs] == [[e.loss for e in member] for member in whole.epochs]


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_counts_as_none(samples: Samples, tmp_path: Path, damage: bytes | None) -> None:
    hyper = Hyper(epochs=2)
    candidate = Candidate(name="it", hyper=hyper, members=1)
    first = table_of(candidate, hyper, samples, None, means(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    assert table_of(candidate, hyper, samples, None, means(tmp_path)).table.tobytes() == first.table.tobytes()


def test_a_checkpoint_of_another_training_is_not_taken(samples: Samples, tmp_path: Path) -> None:
    hyper = Hyper(epochs=1)
    candidate = Candidate(name="it", hyper=hyper, members=1)
    first = table_of(candidate, hyper, samples, None, means(tmp_path))
    other = msgspec.structs.replace(means(tmp_path), data="elsewhere")
    told: list[int] = []
    table_of(candidate, hyper, samples, None, other, report=lambda _name, _number, epoch: told.append(epoch.epoch))
    assert told == [1]
    table_of(candidate, hyper, samples, None, means(tmp_path), report=lambda _name, _number, epoch: told.append(epoch.epoch))
    assert told == [1], "the first one's checkpoint is still there"
    assert first.passes == [1]


def test_training_stops_when_the_validation_loss_rises_and_keeps_the_best_pass(samples: Samples) -> None:
    hyper = Hyper(rate=0.5, epochs=30, patience=2, smoothing=0.0)
    chance = np.random.default_rng(1)
    wrong = chance.random(samples.targets.size) < 0.6
    samples = msgspec.structs.replace(samples, targets=np.where(wrong, chance.permutation(samples.targets), samples.targets))
    network = candidates.network_for(hyper, samples, None, 1)
    epochs = trained(network, samples, hyper, seed=1)
    best = best_of(epochs)
    assert len(epochs) == best + 2 < 30
    again = candidates.network_for(hyper, samples, None, 1)
    trained(again, samples, msgspec.structs.replace(hyper, epochs=best, patience=99), seed=1)
    assert torch.equal(network.embedding.weight, again.embedding.weight)


def test_without_a_validation_part_it_takes_the_passes_that_it_is_told(samples: Samples) -> None:
    hyper = Hyper(epochs=9)
    everything = msgspec.structs.replace(samples, cut=len(samples.matrix))
    member = table_of(Candidate(name="it", hyper=hyper, members=2), hyper, everything, None, means(), passes=[2, 1])
    assert [len(epochs) for epochs in member.epochs] == [2, 1]
    assert member.epochs[0][0].loss is None


def test_weights_of_labels_count(samples: Samples) -> None:
    hyper = Hyper(epochs=1)
    weights = np.where(samples.targets == 0, 0.0, 1.0).astype(np.float32)
    network = candidates.network_for(hyper, msgspec.structs.replace(samples, weights=weights), None, 1)
    trained(network, msgspec.structs.replace(samples, weights=weights), hyper, seed=1)
    assert not (network_scores(network, samples.matrix).argmax(1) == 0).any()


def test_balancing_is_the_online_model_s() -> None:
    targets = np.array([0] * 97 + [1] * 3)
    assert (balancing(targets, 2, 0.0) == 1).all()
    weights = balancing(targets, 2, 1.0)
    assert weights[-1] == 10.0
    assert weights[0] == pytest.approx(101 / (2 * 98))
    assert balancing(targets, 2, 0.5)[-1] == pytest.approx(1 + 0.5 * (101 / (2 * 4) - 1))


def test_rare_rows_weigh_more_and_texts_keep_their_length(samples: Samples) -> None:
    scale = rarity(samples.matrix, samples.cut, 1.0)
    often = samples.matrix.texts_with(samples.cut)
    assert scale[often.argmax()] < scale[often.argmin()]
    last = samples.matrix.starts[samples.cut]
    columns, values = samples.matrix.columns[:last], samples.matrix.values[:last].astype(np.float64)
    assert ((values * scale[columns]) ** 2).sum() == pytest.approx((values**2).sum(), rel=1e-4)


def test_the_scale_is_the_one_with_the_lowest_loss() -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(4000, 5)) * 2
    probabilities = softmax(logits)
    targets = np.array([chance.choice(5, p=p) for p in probabilities])
    assert fitted_scale(logits * 7, targets, ONES[:4000]) * 7 == pytest.approx(1.0, rel=0.08)
    assert fitted_scale(logits, logits.argmax(1), ONES[:4000]) <= 50.0
    assert fitted_scale(logits, logits.argmin(1), ONES[:4000]) == pytest.approx(0.02, rel=0.01)


def test_the_mean_of_two_that_err_in_other_places_wins() -> None:
    chance = np.random.default_rng(1)
    targets = chance.integers(0, 3, 3000)
    truth = 2.0 * np.eye(3)[targets]
    scores = {name: truth + chance.normal(size=truth.shape) * 2 for name in ("one", "two")}
    found = blends(scores, targets, ONES[:3000])
    best = best_blend(found)
    assert [blend.name for blend in found] == ["one", "two", MEAN]
    assert best.name == MEAN
    assert best.log_loss == pytest.approx(log_loss(combined(scores, best.shares), targets, ONES[:3000]))
    assert best.accuracy > max(found[0].accuracy, found[1].accuracy)


def test_a_calibrator_from_overconfident_logits_says_what_is_true() -> None:
    chance = np.random.default_rng(1)
    logits = chance.normal(size=(6000, 4)) * 1.5
    targets = np.array([chance.choice(4, p=p) for p in softmax(logits)])
    _, confidence, probability = calibrated(logits * 4, targets, ONES)
    right = (logits.argmax(1) == targets)[1000:]
    assert abs(confidence[1000:].mean() - right.mean()) < 0.02
    assert abs(softmax(logits * 4).max(1).mean() - right.mean()) > 0.1
    assert (probability <= confidence + 1e-12).all()


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_goes_on_from_its_store(samples: Samples, tmp_path: Path, sampler: str) -> None:
    options = msgspec.convert({"seconds": 60.0, "trials": 2, "sampler": sampler}, SearchOptions)
    first = searched(samples, None, means(tmp_path), options)
    assert first is not None
    assert first.trials == 2
    more = searched(samples, None, means(tmp_path), msgspec.structs.replace(options, trials=3))
    assert more is not None
    assert more.trials == 3
    assert more.log_loss <= first.log_loss
    none_left = searched(samples, None, means(tmp_path), msgspec.structs.replace(options, seconds=1e-9))
    assert none_left is not None
    assert none_left.candidate == more.candidate


@pytest.mark.parametrize("damage", [b"no database at all" * 500, b"SQLite format 3\0" + b"x" * 5000])
def test_a_search_whose_store_is_damaged_begins_anew(samples: Samples, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "search.sqlite3").write_bytes(damage)
    found = searched(samples, None, means(tmp_path), SearchOptions(seconds=60, trials=1, members=1))
    assert found is not None
    assert found.trials == 1


def test_a_checkpoint_without_all_its_arrays_counts_as_none(tmp_path: Path) -> None:
    optimiser = RowAdaGrad([torch.nn.Parameter(torch.zeros(3, 2))], rate=0.1, classes=2)
    state = State(best=[torch.zeros(3, 2)])
    save(tmp_path / "whole", "key", optimiser, state)
    assert load(tmp_path / "whole", "key", optimiser, state)
    with safetensors.safe_open(tmp_path / "whole", framework="pt") as file:
        arrays, header = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - it is no dict
    del arrays["squares.0"]
    safetensors.torch.save_file(arrays, tmp_path / "less", metadata=header)
    assert not load(tmp_path / "less", "key", optimiser, state)
    safetensors.torch.save_file(arrays | {"squares.0": torch.zeros(7)}, tmp_path / "other", metadata=header)
    assert not load(tmp_path / "other", "key", optimiser, state)


def test_a_search_without_time_finds_nothing(samples: Samples) -> None:
    assert searched(samples, None, means(), SearchOptions(seconds=1e-6)) is None
