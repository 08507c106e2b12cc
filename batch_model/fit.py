"""A refresh's training: candidates on the first part of the rows, the last part decides, and what wins is trained on all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from batch_model.calibrating import Validation
from batch_model.candidates import Candidate, Means, Member
from batch_model.checkpoints import Epoch
from batch_model.deciding import Decision, decided, first_of_validation, undecided
from batch_model.defaults import CANDIDATES
from batch_model.memory import peak_mib
from batch_model.network import device_for
from batch_model.prepared import Data, assembled, prepared
from batch_model.progress import Doing, Training
from batch_model.rows import LabelledText
from batch_model.search import SearchOptions
from batch_model.variants import FULL, Variant, pack, unpack
from online_model.models import OwnModel

ChampionAt = Callable[[int], OwnModel | None]
"""Returns the champion's line as it stood before row n of the rows was learned; None if nobody knows it any more."""


class FitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a refresh trains.

    Attributes:
        candidates: what competes.
        validation_share: share of the rows, the last ones, that decide.
        seed: of everything random.
        device: `auto` (the GPU if there is one), `cpu`, `cuda`, `cuda:1` …
        threads: of torch; 0 leaves them as they are. Steps are short, so a second thread gains little, and waits where CPUs are shared.
            Results are repeatable for the same number.
        memory_mib: memory that the features of the texts may take.
        folder: for checkpoints of the training; None for none.
        specification: of the model if there is no champion.
        search: bounds of a search for parameters; what it finds competes as one candidate more. Off by default.
        variant: how the model is stored; the one that is returned has been stored and read back.
    """

    candidates: tuple[Candidate, ...] = CANDIDATES
    validation_share: float = 0.2
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    memory_mib: int = 1024
    folder: Path | None = None
    specification: str = "softmax"
    search: SearchOptions = SearchOptions()
    variant: Variant = FULL


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh learned.

    Attributes:
        model: the model, ready to serve and to go on learning.
        candidate: the name of what won.
        parameters: its parameters, and the share of each part in the table.
        metrics: seconds, speed, memory, fold_max_abs_diff, and accuracy and log loss on the validation part of each candidate.
        epochs: what each pass of each candidate's networks reached before the cut, by candidate.
        validation: what the winner said of the last part, which it had not seen; None if there were too few rows for one.
    """

    model: OwnModel
    candidate: str
    parameters: dict[str, object]
    metrics: dict[str, float]
    epochs: dict[str, list[list[Epoch]]]
    validation: Validation | None


def fit(
    rows: Sequence[LabelledText],
    champion: OwnModel | None,
    champion_at: ChampionAt,
    options: FitOptions = FitOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[Doing], None] = lambda _doing: None,
) -> Fitted:
    """Train on rows in the order of their labels, and return the model that is best on the last ones, trained on all.

    Args:
        rows: texts with labels, oldest first.
        champion: what serves, as of after the last row; None if it is no model of the own engine, or there is none.
        champion_at: what the champion's line was before a row; it must not have seen any label from that row on.
        options: how to train.
        progress: is called often, with what is being done.

    Raises:
        ValueError: if there are no rows, or the specification is not of the own engine.
        TooLarge: if the features do not fit the memory that is allowed.
    """
    begun = time.perf_counter()
    if not rows:
        raise ValueError("there are no rows to train on")
    if options.threads:
        torch.set_num_threads(options.threads)
    device = device_for(options.device)
    data = prepared(rows, champion, options.specification, options.memory_mib, lambda done: progress(Doing("features", done)))
    cut = first_of_validation(len(data.rows), options.validation_share)
    training = Training(data, Means(device=device, seed=options.seed, folder=options.folder, data=data.fingerprint), progress)
    before = champion_at(cut) if cut else None
    found = training.found(options.search, cut, before) if cut and options.search.seconds else None
    candidates = (*options.candidates, found.candidate) if found else options.candidates
    tried = training.members("candidates", candidates, cut, before) if cut else []
    decision = decided(data.samples, data.like.classes, tried, cut) if cut else undecided(candidates)
    winners = [candidate for candidate in candidates if candidate.name in decision.blend.shares]
    known = {member.candidate.name: member.passes for member in tried}
    final = training.members("training", winners, len(data.rows), champion, known)
    model = assembled(data, final, decision, champion)
    if options.variant != FULL:
        model = unpack(pack(model, options.variant), model)
    return Fitted(
        model=model,
        candidate=decision.blend.name,
        parameters=_parameters(final, decision),
        metrics=_metrics(data, tried, final, decision, time.perf_counter() - begun),
        epochs={member.candidate.name: member.epochs for member in tried or final},
        validation=decision.validation,
    )


def _parameters(final: list[Member], decision: Decision) -> dict[str, object]:
    return {
        member.candidate.name: {
            **(msgspec.to_builtins(member.candidate.hyper) or {}),
            "members": member.candidate.members,
            "passes": member.passes,
            "share": decision.blend.shares[member.candidate.name],
        }
        for member in final
    }


def _metrics(data: Data, tried: list[Member], final: list[Member], decision: Decision, seconds: float) -> dict[str, float]:
    taken = sum(sum(len(epochs) for epochs in member.epochs) * member.texts for member in (*tried, *final))
    training = sum(member.seconds for member in (*tried, *final))
    found = {
        "rows": float(len(data.samples.matrix)),
        "train_seconds": seconds,
        "rows_per_second": taken / max(training, 1e-9),
        "fold_max_abs_diff": max((member.fold_max_abs_diff for member in (*tried, *final)), default=0.0),
        "peak_mib": peak_mib(),
    }
    for blend in decision.tried:
        found[f"validation_accuracy.{blend.name}"] = blend.accuracy
        found[f"validation_log_loss.{blend.name}"] = blend.log_loss
    return found
