"""The arrays of a stored model: whether they have the form that they must have, and weights that were stored in fewer bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


def weights(arrays: Arrays, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the weights, which may be stored in fewer bytes: as float16, or as int8 with a float16 `scales` for each row.

    Raises:
        ValueError: if they are of another type or shape, or no finite numbers.
    """
    dtype = arrays["weights"].dtype if "weights" in arrays else np.dtype(np.float32)
    if dtype == np.int8:
        scales: npt.NDArray[np.float32] = checked(arrays, "scales", np.float16, shape[:1]).astype(np.float32)
        return checked(arrays, "weights", np.int8, shape).astype(np.float32) * scales[:, None]
    if dtype == np.float16:
        return checked(arrays, "weights", np.float16, shape).astype(np.float32)
    return checked(arrays, "weights", np.float32, shape)


def checked(arrays: Arrays, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array if it has this type and shape (-1 is any length), and numbers that can have been learned.

    Raises:
        ValueError: if not; the message names the array.
    """
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim != len(shape):
        raise ValueError(f"array {name!r} is missing or of another type")
    if any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"array {name!r} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all() or (name in ("squares", "counts") and array.size and array.min() < 0):
        raise ValueError(f"array {name!r} holds numbers that nobody can have learned")
    return array
