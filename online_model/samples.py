"""What a model can be given: texts, or dicts of named features; one, or many in pandas' containers."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from online_model.tokens import MAX_POINTS

Sample = str | dict[Any, Any]
Frame = Any  # of pandas, which has no types of its own and is not imported here

_LARGEST, _SMALLEST = 1e9, 1e-9  # values of named features: beyond, squares would overflow or be denormal


def encoded(text: str) -> bytes:
    """Return the part of a text that is read, as UTF-8; a lone surrogate as three bytes."""
    if len(text) > MAX_POINTS:
        text = text[:MAX_POINTS]
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def samples(many: Frame) -> list[Any]:
    """Return the samples of a mini-batch: the items of a Series, the rows of a DataFrame as dicts."""
    found: list[Any] = many.to_dict(orient="records") if many.ndim > 1 else many.tolist()
    return found


def named_feature(name: Any, value: Any) -> tuple[int, float, str]:
    """Return the hash, the value and the text of a named feature.

    Raises:
        ValueError: if the value is not finite.
    """
    if isinstance(value, int | float | np.number):
        if not isinstance(value, int) and not math.isfinite(value):  # whole numbers are finite, and may be larger than any float
            raise ValueError(f"feature {name!r} is {value}, not a finite number")
        size = float(min(_LARGEST, max(-_LARGEST, value)))
        key, value = str(name), size if abs(size) >= _SMALLEST else 0.0
    else:
        key, value = f"{name}={value}", 1.0
    return int.from_bytes(hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest(), "little"), value, key
