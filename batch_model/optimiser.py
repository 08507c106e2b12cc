"""AdaGrad with one sum of squares for each row, as the online model has it: what training leaves behind, serving goes on with."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

EPSILON = 1e-3
"""As in the online model: added to the sums of squares."""


class RowAdaGrad:
    """AdaGrad (Duchi, Hazan, Singer 2011) by rows: the weights of a row share one sum of squares. Takes sparse and dense gradients.

    Args:
        parameters: matrices.
        rate: step size.
        classes: number of classes; squares are multiplied by 2 / classes, so that one rate fits few classes and many.
        decay: L2 penalty: in each step the weights of touched rows shrink by the step size times this.
    """

    def __init__(self, parameters: Iterable[Tensor], *, rate: float, classes: int, decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.squares = [torch.zeros(p.shape[0], device=p.device) for p in self.parameters]
        self._rate, self._share, self._decay = rate, 2.0 / max(classes, 2), decay

    @torch.no_grad()
    def step(self) -> None:
        """Take a step by the gradients, and forget them."""
        for parameter, squares in zip(self.parameters, self.squares, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.is_sparse:
                gradient = gradient.coalesce()
                rows, values = gradient.indices()[0], gradient.values()
                parameter[rows] -= self._change(parameter[rows], values, squares, rows)
            else:
                parameter.sub_(self._change(parameter, gradient, squares, slice(None)))
            parameter.grad = None

    def _change(self, weights: Tensor, gradient: Tensor, squares: Tensor, rows: Tensor | slice) -> Tensor:
        total = squares[rows] + gradient.square().sum(1) * self._share
        squares[rows] = total
        if self._decay:
            gradient = gradient + self._decay * weights
        return gradient * (self._rate / (total + EPSILON).sqrt())[:, None]
