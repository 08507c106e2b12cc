"""Training a network: mini-batches, early stopping on the last part by time, checkpoints from which it goes on to the same result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from batch_model.checkpoints import Epoch, State, load, save
from batch_model.fold import network_scores
from batch_model.matrix import Doubles, Floats, Longs, Matrix
from batch_model.metrics import accuracy, fitted_scale, log_loss
from batch_model.network import Network
from batch_model.optimiser import RowAdaGrad


class Hyper(msgspec.Struct, frozen=True, kw_only=True):
    """How a network is made and trained.

    Attributes:
        rank: columns of the embedding before the linear layer; 0 for a plain softmax.
        idf: exponent of the inverse document frequency by which features are scaled; 0 for none.
        base: what the champion's table is multiplied by below the network; 0 to train from scratch.
        rate: step size of AdaGrad.
        batch: texts of a step.
        epochs: passes at most.
        dropout: share of features that are left out at random.
        smoothing: share of a label that is spread over all classes.
        decay: L2 penalty of a step.
        patience: passes without a better validation loss before training stops.
    """

    rank: int = 0
    idf: float = 0.0
    base: float = 0.0
    rate: float = 0.2
    batch: int = 32
    epochs: int = 6
    dropout: float = 0.0
    smoothing: float = 0.02
    decay: float = 0.0
    patience: int = 1


class Samples(msgspec.Struct, frozen=True):
    """What a network learns from: features, classes as numbers, and weights of the labels; validation begins at text `cut`."""

    matrix: Matrix
    targets: Longs
    weights: Floats
    cut: int
    classes: int

    @property
    def validation(self) -> Matrix:
        """The texts from the cut on."""
        return self.matrix.part(self.cut, len(self.matrix))


def trained(
    network: Network,
    samples: Samples,
    hyper: Hyper,
    *,
    seed: int,
    progress: Callable[[Epoch], None] = lambda _epoch: None,
    checkpoint: Path | None = None,
    key: str = "",
) -> list[Epoch]:
    """Train a network in place on the texts before the cut; those after it say when to stop, and which pass was best.

    Without texts after the cut it trains for all of `hyper.epochs`. The same seed, samples and parameters give the same weights on the same
    device with the same number of threads; so does a run that was interrupted, and goes on from its checkpoint.

    Returns: what each pass reached; the network has the weights of the best one.
    """
    optimiser = RowAdaGrad(
        [p for p in network.parameters() if p.requires_grad], rate=hyper.rate, classes=samples.classes, decay=hyper.decay
    )
    state = State(best=[p.detach().clone() for p in optimiser.parameters])
    if checkpoint is not None:
        load(checkpoint, key, optimiser, state)
    while len(state.epochs) < hyper.epochs and not _stopped(state.epochs, hyper.patience):
        begun, number = time.perf_counter(), len(state.epochs) + 1
        train_loss = _pass(network, optimiser, samples, hyper, np.random.default_rng([seed, number]))
        loss, right = validated(network, samples)
        epoch = Epoch(number, train_loss, loss, right, time.perf_counter() - begun)
        state.epochs.append(epoch)
        if loss is None or best_of(state.epochs) == number:
            state.best = [p.detach().clone() for p in optimiser.parameters]
        progress(epoch)
        if checkpoint is not None:
            save(checkpoint, key, optimiser, state)
    with torch.no_grad():
        for parameter, best in zip(optimiser.parameters, state.best, strict=True):
            parameter.copy_(best)
    return state.epochs


def best_of(epochs: list[Epoch]) -> int:
    """Return the number of the pass with the lowest validation loss; of the last one if there was no validation."""
    if not epochs or epochs[-1].loss is None:
        return len(epochs)
    return min(epochs, key=lambda epoch: math.inf if epoch.loss is None else epoch.loss).epoch


def validated(network: Network, samples: Samples) -> tuple[float | None, float | None]:
    """Return log loss (at the best scale of the logits) and accuracy of the texts after the cut; None if there are none."""
    if samples.cut >= len(samples.matrix):
        return None, None
    return loss_and_accuracy(network_scores(network, samples.validation), samples.targets[samples.cut :], samples.weights[samples.cut :])


def loss_and_accuracy(scores: Doubles, targets: Longs, weights: Floats) -> tuple[float | None, float | None]:
    """Return log loss at the best scale of the logits, and accuracy; None if there are no texts."""
    if not targets.size:
        return None, None
    return log_loss(scores * fitted_scale(scores, targets, weights), targets, weights), accuracy(scores, targets)


def _stopped(epochs: list[Epoch], patience: int) -> bool:
    return bool(epochs) and len(epochs) - best_of(epochs) >= patience


def _pass(network: Network, optimiser: RowAdaGrad, samples: Samples, hyper: Hyper, chance: np.random.Generator) -> float:
    """Train on each text once, in a random order; return the mean log loss."""
    network.train()
    torch.manual_seed(int(chance.integers(2**62)))
    order, total = chance.permutation(samples.cut), 0.0
    for first in range(0, order.size, hyper.batch):
        texts = order[first : first + hyper.batch]
        logits = network(*network.batch(*samples.matrix.taken(texts)))
        targets = torch.from_numpy(samples.targets[texts]).to(logits.device)
        weights = torch.from_numpy(samples.weights[texts]).to(logits.device)
        loss = weighted_loss(logits, targets, weights, hyper.smoothing)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        total += float(loss.detach())
    return total / max(float(samples.weights[: samples.cut].sum()), 1e-9)


def weighted_loss(logits: Tensor, targets: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Return the sum of the weighted log losses against labels of which a share is spread over all classes."""
    losses: Tensor = torch.nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum()
