"""Between models and bare tables: a model's weights by the rows of a matrix, and a table as a model that goes on learning."""

from __future__ import annotations

import numpy as np

from batch_model.matrix import Doubles, Floats, Longs
from online_model import calibration
from online_model.models import OwnModel, TextModel, build, restore
from online_model.softmax import MOST_CLASSES, Arrays


def untaught(specification: str, classes: list[str]) -> OwnModel:
    """Return a model that knows the classes and has learned nothing: its features are those of every model with so many classes.

    Raises:
        ValueError: if the specification is not of the own engine.
    """
    specification = build(specification).specification
    nothing: Arrays = {
        "rows": np.zeros(0, np.uint32),
        "weights": np.zeros((0, len(classes)), np.float32),
        "squares": np.zeros(0, np.float32),
        "calibrator": calibration.initial(),
        "counts": np.zeros(len(classes)),
    }
    model: TextModel = restore(specification, classes, nothing)
    if not isinstance(model, OwnModel):
        raise ValueError(f"{specification} is not the own engine: only its table can be trained in batch")
    return model


def known_classes(labels: list[str], champion: OwnModel | None) -> list[str]:
    """Return the champion's classes, then those of further labels as they appear, no more than a model can have."""
    return list(dict.fromkeys([*(champion.classes if champion is not None else ()), *labels]))[:MOST_CLASSES]


def full_table(champion: OwnModel, like: OwnModel) -> tuple[Floats, Floats]:
    """Return the champion's weights and sums of squares as those of a model that knows the classes of `like`, in their order.

    Returns: weights, float32, (like.rows, classes); a class that the champion does not know has zeros. Squares, float32, (like.rows,).
    """
    arrays = champion.arrays()
    rows = arrays["rows"].astype(np.int64) // (champion.rows // like.rows)
    place = {name: at for at, name in enumerate(like.classes)}
    columns = np.array([place[name] for name in champion.classes], np.int64)
    table, squares = np.zeros((like.rows, len(like.classes)), np.float32), np.zeros(like.rows, np.float32)
    for source, target in enumerate(columns):
        np.add.at(table[:, target], rows, arrays["weights"][:, source])
    np.add.at(squares, rows, arrays["squares"])
    return table, squares


def made(like: OwnModel, table: Floats, squares: Floats, *, calibrator: Doubles, counts: Doubles) -> OwnModel:
    """Return the model with this table.

    Args:
        like: gives specification and classes.
        table: float32, (like.rows, classes).
        squares: float32, (like.rows,): AdaGrad's; a row without them takes longest steps, and is not kept in snapshots if it is zero.
        calibrator: its state.
        counts: weights of the labels of each class.
    """
    rows: Longs = np.flatnonzero((squares > 0) | table.any(axis=1))
    least = np.finfo(np.float32).tiny  # a row without a sum of squares counts as untouched
    arrays: Arrays = {
        "rows": rows.astype(np.uint32),
        "weights": np.ascontiguousarray(table[rows]),
        "squares": np.maximum(squares[rows], least),
        "calibrator": calibrator,
        "counts": counts,
    }
    model = restore(like.specification, list(like.classes), arrays)
    if not isinstance(model, OwnModel):
        raise ValueError(f"{like.specification} is not the own engine")
    return model
