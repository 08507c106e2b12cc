"""A trained network as a table of the online model: the same logits, no network."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch

from batch_model.matrix import Doubles, Floats, Matrix
from batch_model.network import Network

_TEXTS = 2048


def folded(network: Network) -> Floats:
    """Return the table whose logits are the network's: T = T0 + diag(scale) · E · W, in float64, rounded once.

    Returns: float32, a row for each row of the network, a column for each class.
    """
    with torch.no_grad():
        table = network.embedding.weight.detach().cpu().double()
        if network.linear is not None:
            table = table @ network.linear.weight.detach().cpu().double().T
        table *= network.scale.detach().cpu().double()[:, None]
        if network.base is not None:
            table += network.base.weight.detach().cpu().double()
    return table.float().numpy()


def fold_difference(network: Network, table: npt.NDArray[np.float32], matrix: Matrix) -> float:
    """Return the largest difference between a logit of the network and one of the table, over a few thousand texts of the matrix.

    Both are added up in float64: in float32 the order of the thousands of features of a long text alone makes 3e-4.
    """
    network = deepcopy(network).double()
    texts = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), _TEXTS)).astype(np.int64))
    worst = 0.0
    for part in np.array_split(texts, max(1, texts.size // 256)):
        few = _only(matrix, part)
        worst = max(worst, float(np.abs(network_scores(network, few) - few.scores(table)).max(initial=0.0)))
    return worst


def network_scores(network: Network, matrix: Matrix, at_once: int = 256) -> Doubles:
    """Return the logits of the network for all texts of a matrix, without dropout."""
    network.eval()
    found = []
    with torch.no_grad():
        for first in range(0, len(matrix), at_once):
            batch = network.batch(*matrix.taken(np.arange(first, min(first + at_once, len(matrix)))))
            found.append(network(*batch).cpu().double().numpy())
    return np.concatenate(found)


def _only(matrix: Matrix, texts: npt.NDArray[np.int64]) -> Matrix:
    starts, columns, values = matrix.taken(texts)
    return Matrix(starts, columns.astype(np.int32), values, matrix.rows)
