"""Checkpoints of a training: weights, the optimiser's state, the best weights so far, what each pass reached. Safetensors, no pickle."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import safetensors
import safetensors.torch
import torch

from batch_model.optimiser import RowAdaGrad


class Epoch(msgspec.Struct, frozen=True):
    """What a pass reached.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean log loss of the training texts during the pass.
        loss: weighted log loss of the validation texts at the best scale of the logits; None without them.
        accuracy: share of validation texts that are right; None without them.
        seconds: time that the pass took.
    """

    epoch: int
    train_loss: float
    loss: float | None
    accuracy: float | None
    seconds: float


class State(msgspec.Struct):
    """How far a training is: the best weights so far, and what each pass reached."""

    best: list[torch.Tensor]
    epochs: list[Epoch] = msgspec.field(default_factory=list)


class _Header(msgspec.Struct, frozen=True):
    key: str
    epochs: list[Epoch]


def save(path: Path, key: str, optimiser: RowAdaGrad, state: State) -> None:
    """Write a checkpoint: whole, or not at all.

    Args:
        path: the file.
        key: says which training it is: data, parameters, seed.
        optimiser: with the weights that it trains.
        state: how far it is.
    """
    arrays = {}
    for number, weights in enumerate(optimiser.parameters):
        arrays[f"weights.{number}"] = weights.detach().cpu().contiguous()
        arrays[f"squares.{number}"] = optimiser.squares[number].cpu()
        arrays[f"best.{number}"] = state.best[number].cpu().contiguous()
    header = msgspec.json.encode(_Header(key, state.epochs)).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(safetensors.torch.save(arrays, metadata={"millrace": header}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, key: str, optimiser: RowAdaGrad, state: State) -> bool:
    """Put a checkpoint into `optimiser` and `state`; return whether there was one of this training.

    One that is damaged, or of another training (other data or parameters), counts as none: training begins anew and writes over it.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = msgspec.json.decode((file.metadata() or {}).get("millrace", ""), type=_Header)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (FileNotFoundError, safetensors.SafetensorError, msgspec.DecodeError):
        return False
    wanted = {f"{kind}.{n}": w.shape for n, w in enumerate(optimiser.parameters) for kind in ("weights", "best")}
    wanted |= {f"squares.{n}": squares.shape for n, squares in enumerate(optimiser.squares)}
    if header.key != key or any(name not in arrays or arrays[name].shape != shape for name, shape in wanted.items()):
        return False
    with torch.no_grad():
        for number, weights in enumerate(optimiser.parameters):
            weights.copy_(arrays[f"weights.{number}"])
            optimiser.squares[number].copy_(arrays[f"squares.{number}"])
            state.best[number].copy_(arrays[f"best.{number}"])
    state.epochs[:] = header.epochs
    return True
