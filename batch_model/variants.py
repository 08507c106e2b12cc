"""Small variants of a model: weights in fewer bytes, and rows that say little left out.

They make artifacts smaller, and what crosses the network at a swap. In memory the table is float32 again: it goes on learning, by
steps that neither int8 nor float16 could hold. So they predict as fast as the full one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import safetensors.numpy

from batch_model.rows import LabelledText
from online_model.models import OwnModel, restore
from online_model.softmax import Arrays

Weights = Literal["float32", "float16", "int8"]

_MOST = 127  # of int8, so that both signs reach as far
_LARGEST = float(np.finfo(np.float16).max)


class Variant(msgspec.Struct, frozen=True):
    """How a model is stored.

    Attributes:
        weights: type of a weight; int8 has a scale for each row.
        prune: share of the rows that is left out, those with the smallest weights (Euclidean length), from 0 to below 1.
    """

    weights: Weights = "float32"
    prune: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.prune < 1.0:
            raise ValueError(f"prune is {self.prune}: expected a share of the rows, from 0 to below 1")


FULL = Variant()
VARIANTS = (FULL, Variant("float16"), Variant("int8"), Variant("float32", 0.5), Variant("int8", 0.5))
"""What a report compares."""


class Measured(msgspec.Struct, frozen=True):
    """What a variant costs and gives.

    Attributes:
        variant: which.
        artifact_bytes: size of its arrays in a file.
        predictions_per_second: texts a second, one a call, on one core.
        accuracy: share of the texts that it classifies rightly; None without texts.
    """

    variant: Variant
    artifact_bytes: int
    predictions_per_second: float | None
    accuracy: float | None


def pack(model: OwnModel, variant: Variant) -> Arrays:
    """Return the arrays of a model in the form of a variant; `HashedSoftmax.from_arrays` reads them.

    Weights that were read back from a type are packed into the same bytes again; pruning takes a further share each time.
    """
    arrays = pruned(model.arrays(), variant.prune)
    weights = arrays["weights"]
    if variant.weights == "float16":
        arrays["weights"] = np.clip(weights, -_LARGEST, _LARGEST).astype(np.float16)
    elif variant.weights == "int8":
        scales = np.minimum(np.abs(weights).max(axis=1, initial=0.0) / np.float32(_MOST), _LARGEST).astype(np.float16)
        steps = scales.astype(np.float32)[:, None]
        arrays["weights"] = np.clip(np.rint(weights / np.where(steps > 0, steps, 1.0)), -_MOST, _MOST).astype(np.int8)
        arrays["weights"][scales == 0] = 0
        arrays["scales"] = scales
    return arrays


def pruned(arrays: Arrays, share: float) -> Arrays:
    """Return the arrays without the share of rows whose weights are smallest; of equal ones the first rows go."""
    gone = int(arrays["rows"].size * share)
    if not gone:
        return dict(arrays)
    order = np.argsort(np.square(arrays["weights"].astype(np.float64)).sum(1), kind="stable")
    kept = np.sort(order[gone:])
    return {**arrays, **{name: np.ascontiguousarray(arrays[name][kept]) for name in ("rows", "weights", "squares")}}


def unpack(arrays: Arrays, like: OwnModel) -> OwnModel:
    """Return the model that was packed, with specification and classes of `like`.

    Raises:
        ValueError: if they do not fit each other.
    """
    model = restore(like.specification, list(like.classes), arrays)
    if not isinstance(model, OwnModel):
        raise ValueError(f"{like.specification} is not the own engine")
    return model


def measured(model: OwnModel, variants: Sequence[Variant], rows: Sequence[LabelledText]) -> list[Measured]:
    """Return what each variant of a model costs, and what it reaches on rows."""
    return [_measured(pack(model, variant), variant, model, rows) for variant in variants]


def _measured(arrays: Arrays, variant: Variant, model: OwnModel, rows: Sequence[LabelledText]) -> Measured:
    small = unpack(arrays, model)
    size = len(safetensors.numpy.save(arrays))
    if not rows:
        return Measured(variant, size, None, None)
    for row in rows[:100]:
        small.predict_top(row.text, 1)
    begun = time.perf_counter()
    right = sum(row.label in small.predict_top(row.text, 1) for row in rows)
    seconds = max(time.perf_counter() - begun, 1e-9)
    return Measured(variant, size, len(rows) / seconds, right / len(rows))
