"""The network: a bag of embeddings of the serving model's features and a linear layer, on top of the champion's table."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from batch_model.matrix import Floats, Longs


class Network(nn.Module):
    """Logits of classes: the champion's (frozen) and what training adds to them.

    logits = x · T0 + (x ∘ scale) · E · W, where x holds the features of a text as serving takes them. All is linear in x, so it folds into
    one table (`batch_model.fold`). Without a rank E has a column for each class and there is no W: a plain softmax.

    Args:
        rows: rows of the table that occur, F.
        classes: number of classes, C.
        rank: columns of E; 0 for no W.
        base: T0, float32 of shape (F, C), or None for none.
        scale: a factor for each row, float32 of shape (F,), or None for ones.
        dropout: share of features that are left out at random in training.
        seed: of the initial weights. E begins with zeros, so the network begins as the champion.
    """

    def __init__(
        self,
        rows: int,
        classes: int,
        *,
        rank: int = 0,
        base: Floats | None = None,
        scale: Floats | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        columns = rank or classes
        self.embedding = nn.EmbeddingBag(
            rows, columns, mode="sum", sparse=True, include_last_offset=True, _weight=torch.zeros(rows, columns)
        )
        self.linear = nn.Linear(rank, classes, bias=False) if rank else None
        if self.linear is not None:
            start = torch.randn(classes, rank, generator=torch.Generator().manual_seed(seed)) / rank**0.5
            self.linear.weight.data.copy_(start)
        self.base = None
        if base is not None:
            self.base = nn.EmbeddingBag.from_pretrained(torch.from_numpy(base), freeze=True, mode="sum", include_last_offset=True)
        self.register_buffer("scale", torch.ones(rows) if scale is None else torch.from_numpy(scale.astype(np.float32)))
        self.scale: Tensor
        self.dropout = dropout

    def batch(self, starts: Longs, columns: Longs, values: Floats) -> tuple[Tensor, Tensor, Tensor]:
        """Return arrays of `Matrix.taken` as tensors where the network is, values in its precision."""
        device = self.scale.device
        return torch.from_numpy(starts).to(device), torch.from_numpy(columns).to(device), torch.from_numpy(values).to(self.scale)

    def forward(self, starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
        """Return logits, texts by classes, for features that are listed text after text."""
        scaled = nn.functional.dropout(values * self.scale[columns], self.dropout, self.training)
        logits: Tensor = self.embedding(columns, starts, per_sample_weights=scaled)
        if self.linear is not None:
            logits = self.linear(logits)
        if self.base is not None:
            logits = logits + self.base(columns, starts, per_sample_weights=values)
        return logits


def device_for(name: str) -> torch.device:
    """Return the device that a setting names: `auto` is the GPU if there is one.

    Raises:
        ValueError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device
