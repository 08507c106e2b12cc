"""The mean of online models that learned the same rows in other orders: what one pass learns, without what the order adds to it."""

from __future__ import annotations

import time

import msgspec
import numpy as np

from batch_model.candidates import Candidate, Member, Report
from batch_model.checkpoints import Epoch
from batch_model.metrics import log_loss
from batch_model.prepared import Data, learned_once
from batch_model.tables import full_table
from batch_model.training import loss_and_accuracy

_MEASURED = 2048
"""Of so many texts, the first ones, the training loss is measured, after the pass."""


def shuffled(candidate: Candidate, data: Data, cut: int, seed: int, report: Report) -> Member:
    """Return the mean of the tables of `candidate.members` online models; each learned the rows before `cut` in an order of its own."""
    begun, matrix = time.perf_counter(), data.samples.matrix
    samples = msgspec.structs.replace(data.samples, cut=cut)
    total, epochs = np.zeros((matrix.rows.size, samples.classes)), []
    for number in range(candidate.members):
        started = time.perf_counter()
        order = np.random.default_rng([seed, number]).permutation(cut)
        table = full_table(learned_once(data, order.tolist()), data.like)[0][matrix.rows]
        first = min(cut, _MEASURED)
        learned = log_loss(matrix.part(0, first).scores(table), samples.targets[:first], samples.weights[:first])
        loss, accuracy = loss_and_accuracy(samples.validation.scores(table), samples.targets[cut:], samples.weights[cut:])
        epoch = Epoch(1, learned, loss, accuracy, time.perf_counter() - started)
        report(candidate.name, number, epoch)
        epochs.append([epoch])
        total += table
    return Member(
        candidate=candidate,
        table=(total / candidate.members).astype(np.float32),
        texts=cut,
        passes=[1] * candidate.members,
        epochs=epochs,
        fold_max_abs_diff=0.0,
        seconds=time.perf_counter() - begun,
    )
