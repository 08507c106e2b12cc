"""What competes in a refresh: networks of one family, each the mean of a few that saw the texts in different orders.

Networks over the same features average exactly: the mean of their tables is the table of their mean logits. It costs nothing at serving,
and it is what helps most, see docs/refresh-training.md.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import torch

from batch_model.checkpoints import Epoch
from batch_model.fold import fold_difference, folded
from batch_model.matrix import Floats, Matrix
from batch_model.network import Network
from batch_model.training import Hyper, Samples, best_of, trained

Report = Callable[[str, int, Epoch], None]
"""Is called after each pass with the candidate's name, the number of its network and what the pass reached."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A way to make a table.

    Attributes:
        name: of the candidate, in reports.
        hyper: how its networks are made and trained; None for the online model itself, each time over the texts in another order.
        members: how many networks, or online models, are averaged.
    """

    name: str
    hyper: Hyper | None
    members: int = 4

    @property
    def base(self) -> float:
        """What the champion's table is multiplied by below it."""
        return 0.0 if self.hyper is None else self.hyper.base

    @property
    def passes(self) -> int:
        """How many passes over the texts it takes at most."""
        return 1 if self.hyper is None else self.hyper.epochs


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a candidate.

    Attributes:
        candidate: the candidate.
        table: float32, a row for each row of the matrix, a column for each class.
        passes: how many passes over the texts each network took.
        epochs: what the passes of each network reached.
        fold_max_abs_diff: the largest difference between logits of a network and of its table.
        texts: how many texts it learned from.
        seconds: time that it took.
    """

    candidate: Candidate
    table: Floats
    texts: int
    passes: list[int]
    epochs: list[list[Epoch]]
    fold_max_abs_diff: float
    seconds: float


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What training needs apart from data and candidates.

    Attributes:
        device: where it runs.
        seed: of orders, dropout and initial weights.
        folder: for checkpoints, or None for none.
        data: says which data these are, so that no checkpoint of others is taken.
    """

    device: torch.device
    seed: int
    folder: Path | None
    data: str


def table_of(
    candidate: Candidate,
    hyper: Hyper,
    samples: Samples,
    base: Floats | None,
    means: Means,
    *,
    passes: list[int] | None = None,
    report: Report = lambda *_: None,
) -> Member:
    """Train a candidate's networks and return the mean of their tables.

    Args:
        candidate: the candidate.
        hyper: how its networks are made and trained.
        samples: what they learn from.
        base: the champion's table by the matrix's rows, as it stood before any text that validates.
        means: device, seed and checkpoints.
        passes: how many passes each network takes, if that is known already; early stopping decides if not.
        report: is called after each pass.
    """
    begun = time.perf_counter()
    total = np.zeros((samples.matrix.rows.size, samples.classes), np.float64)
    epochs, worst = [], 0.0
    for number in range(candidate.members):
        own = hyper if passes is None else msgspec.structs.replace(hyper, epochs=passes[number], patience=passes[number] + 1)
        told = partial(report, candidate.name, number)
        table, found, difference = _one(candidate.name, own, samples, base, means, number, told)
        total += table
        worst = max(worst, difference)
        epochs.append(found)
    return Member(
        candidate=candidate,
        table=(total / candidate.members).astype(np.float32),
        texts=samples.cut,
        passes=[best_of(found) for found in epochs],
        epochs=epochs,
        fold_max_abs_diff=worst,
        seconds=time.perf_counter() - begun,
    )


def _one(
    name: str, hyper: Hyper, samples: Samples, base: Floats | None, means: Means, number: int, report: Callable[[Epoch], None]
) -> tuple[Floats, list[Epoch], float]:
    """Return the table of one network, what its passes reached, and the largest difference of logits between both."""
    seed = means.seed * 1_000 + number
    network = network_for(hyper, samples, base, seed).to(means.device)
    key = _key(means, hyper, samples, base, seed)
    file = None if means.folder is None else means.folder / f"{name}-{number}-{key[:12]}.safetensors"
    epochs = trained(network, samples, hyper, seed=seed, checkpoint=file, key=key, progress=report)
    table = folded(network)
    return table, epochs, fold_difference(network, table, samples.matrix)


def network_for(hyper: Hyper, samples: Samples, base: Floats | None, seed: int) -> Network:
    """Return the untrained network that the parameters describe."""
    classes = samples.classes
    return Network(
        samples.matrix.rows.size,
        classes,
        rank=hyper.rank if hyper.rank < classes else 0,
        base=base * np.float32(hyper.base) if hyper.base and base is not None else None,
        scale=rarity(samples.matrix, samples.cut, hyper.idf) if hyper.idf else None,
        dropout=hyper.dropout,
        seed=seed,
    )


def rarity(matrix: Matrix, texts: int, power: float) -> Floats:
    """Return the inverse document frequency of each row, to a power, so that the features of a text keep their length on average.

    idf = ln((1 + texts) / (1 + texts with the row)) + 1 (Robertson and Spärck Jones's, smoothed as scikit-learn does).
    """
    scale = (np.log((1.0 + texts) / (1.0 + matrix.texts_with(texts))) + 1.0) ** power
    last = matrix.starts[texts]
    squares = np.bincount(matrix.columns[:last], matrix.values[:last].astype(np.float64) ** 2, minlength=scale.size)
    length = np.sqrt((squares * scale**2).sum() / max(squares.sum(), 1e-12))
    return np.asarray(scale / max(float(length), 1e-12), np.float32)


def _key(means: Means, hyper: Hyper, samples: Samples, base: Floats | None, seed: int) -> str:
    """Return a name for a training: the same one for the same result."""
    found = hashlib.sha256(b"" if base is None or not hyper.base else np.ascontiguousarray(base).tobytes())
    machine = (means.device.type, torch.__version__, torch.get_num_threads())
    found.update(repr((means.data, msgspec.to_builtins(hyper), samples.cut, len(samples.matrix), samples.classes, seed, machine)).encode())
    return found.hexdigest()
