"""Rows as training takes them, and a table that was trained as a model that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from batch_model.blending import combined
from batch_model.candidates import Member
from batch_model.deciding import Decision
from batch_model.matrix import Floats, Longs, matrix_of
from batch_model.rows import LabelledText
from batch_model.tables import full_table, known_classes, made, untaught
from batch_model.training import Samples
from online_model.models import OwnModel

SQUARES = 2.0
"""By what AdaGrad's sums of squares of one online pass are multiplied; chosen by experiment, see docs/refresh-training.md."""

_MOST_BALANCE = 10.0  # as in the online model


class Data(msgspec.Struct, frozen=True):
    """Rows as training takes them.

    Attributes:
        rows: the rows, without those whose class the model has no room for.
        samples: their features, classes and weights; its cut is meaningless.
        like: a model that knows all classes and has learned nothing.
        fingerprint: over texts, labels, weights and the specification.
    """

    rows: Sequence[LabelledText]
    samples: Samples
    like: OwnModel
    fingerprint: str


def prepared(
    rows: Sequence[LabelledText], champion: OwnModel | None, specification: str, memory_mib: int, progress: Callable[[float], None]
) -> Data:
    """Return the rows as training takes them.

    Raises:
        ValueError: if the specification is not of the own engine.
        TooLarge: if the features do not fit.
    """
    classes = known_classes([row.label for row in rows], champion)
    place = {name: at for at, name in enumerate(classes)}
    kept = [row for row in rows if row.label in place]
    like = untaught(specification if champion is None else champion.specification, classes)
    matrix = matrix_of([row.text for row in kept], like, memory_mib=memory_mib, progress=lambda texts: progress(texts / len(kept)))
    targets = np.array([place[row.label] for row in kept], np.int64)
    weights = np.array([row.weight for row in kept], np.float32) * balancing(targets, len(classes), like.balance)
    return Data(kept, Samples(matrix, targets, weights, len(kept), len(classes)), like, _fingerprint(kept, like))


def balancing(targets: Longs, classes: int, balance: float) -> Floats:
    """Return weights of labels by the rarity of their class, as the online model has them: 0 for none, 1 for equal sums."""
    counts = np.bincount(targets, minlength=classes)
    rarity = (targets.size + 1.0) / (classes * (counts[targets] + 1.0))
    return np.minimum(_MOST_BALANCE, 1.0 + balance * (rarity - 1.0)).astype(np.float32)


def learned_once(data: Data, texts: Iterable[int]) -> OwnModel:
    """Return the online model that has learned rows once, in the order given."""
    model = untaught(data.like.specification, data.like.classes)
    for text in texts:
        row = data.rows[text]
        model.learn_one(row.text, row.label, row.weight)
    return model


def base_of(data: Data, champion: OwnModel | None, cut: int) -> Floats:
    """Return the champion's table by the rows of the matrix."""
    return full_table(learned_once(data, range(cut)) if champion is None else champion, data.like)[0][data.samples.matrix.rows]


def assembled(data: Data, parts: list[Member], decision: Decision, champion: OwnModel | None) -> OwnModel:
    """Return the model whose table is the blend of the parts.

    Rows that occur in none of the texts keep what the champion has there, as far as the parts stand on it. AdaGrad's sums of squares are
    `SQUARES` times those of an online model that learned the same rows once.
    """
    table, counts = np.zeros((data.like.rows, len(data.like.classes)), np.float32), np.zeros(len(data.like.classes))
    if champion is not None:
        stands = sum(decision.blend.shares[part.candidate.name] * part.candidate.base for part in parts)
        table = full_table(champion, data.like)[0] * np.float32(stands)
    table[data.samples.matrix.rows] = combined({part.candidate.name: part.table for part in parts}, decision.blend.shares)
    np.add.at(counts, data.samples.targets, [row.weight for row in data.rows])
    squares = full_table(learned_once(data, range(len(data.rows))), data.like)[1] * np.float32(SQUARES)
    return made(data.like, table, squares, calibrator=decision.calibrator, counts=counts)


def _fingerprint(rows: Sequence[LabelledText], like: OwnModel) -> str:
    found = hashlib.sha256(like.specification.encode())
    for row in rows:
        found.update(msgspec.json.encode((row.text.encode(errors="surrogatepass"), row.label.encode(errors="surrogatepass"), row.weight)))
    return found.hexdigest()
