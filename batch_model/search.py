"""Search for parameters with Optuna: bounded in seconds and trials, and resumed from its store."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
import optuna

from batch_model.candidates import Candidate, Means, table_of
from batch_model.checkpoints import Epoch
from batch_model.matrix import Floats
from batch_model.metrics import fitted_scale, log_loss
from batch_model.training import Hyper, Samples

SEARCHED = "searched"

Sampler = Literal["tpe", "random", "grid"]

GRID: dict[str, list[float]] = {"rate": [0.1, 0.2, 0.4], "dropout": [0.0, 0.2], "idf": [0.0, 0.5], "base": [0.0, 1.0]}
"""What the grid tries; the other samplers draw from the ranges between its ends, and from a few more parameters."""


class SearchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to search.

    Attributes:
        seconds: time for it; 0 for no search. The trial that runs at its end is given up.
        trials: trials at most, those of earlier runs included.
        sampler: `tpe` (learns from the trials), `random` or `grid`.
        members: networks of the candidate that comes of it.
    """

    seconds: float = 0.0
    trials: int = 50
    sampler: Sampler = "tpe"
    members: int = 4


class Found(msgspec.Struct, frozen=True):
    """What a search found: the candidate, its validation loss with one network, and the number of trials, with those of earlier runs."""

    candidate: Candidate
    log_loss: float
    trials: int


def searched(
    samples: Samples, base: Floats | None, means: Means, options: SearchOptions, progress: Callable[[float], None] = lambda _done: None
) -> Found | None:
    """Return the best parameters found, or None if no trial ended in time.

    The first trial is the default. A search of the same data goes on from the trials in the store in `means.folder`; one that was
    interrupted counts for nothing.

    Args:
        samples: what networks learn from; rows from its cut on say which is best.
        base: the champion's table before the cut.
        means: device, seed and folder.
        options: bounds and sampler.
        progress: is called after each trial with the share of the time or the trials that is used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _study(means, options, samples)
    begun = time.monotonic()
    end = begun + options.seconds

    def objective(trial: optuna.Trial) -> float:
        return _loss(_drawn(trial, samples.classes, base is not None, options.sampler), samples, base, means, end)

    def after(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        progress(min(1.0, max((time.monotonic() - begun) / max(options.seconds, 1e-9), (trial.number + 1) / options.trials)))

    left = options.trials - len(study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE]))
    if left > 0 and options.seconds > 0:
        study.optimize(objective, n_trials=left, timeout=options.seconds, callbacks=[after])
    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if not complete:
        return None
    best = study.best_trial
    hyper = msgspec.convert(best.user_attrs["hyper"], Hyper)
    return Found(Candidate(name=SEARCHED, hyper=hyper, members=options.members), float(best.values[0]), len(complete))


def _study(means: Means, options: SearchOptions, samples: Samples) -> optuna.Study:
    sampler: optuna.samplers.BaseSampler
    if options.sampler == "grid":
        sampler = optuna.samplers.GridSampler(GRID, seed=means.seed)
    elif options.sampler == "random":
        sampler = optuna.samplers.RandomSampler(seed=means.seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=means.seed)
    storage = None if means.folder is None else optuna.storages.RDBStorage(f"sqlite:///{_store(means.folder)}")
    name = f"{options.sampler}-{means.data[:16]}-{samples.cut}"
    study = optuna.create_study(storage=storage, sampler=sampler, study_name=name, direction="minimize", load_if_exists=True)
    if options.sampler != "grid" and not study.get_trials(deepcopy=False):
        default = Hyper()
        study.enqueue_trial({"rate": default.rate, "dropout": default.dropout, "idf": default.idf, "base": default.base})
    return study


def _store(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "search.sqlite3"
    if not _is_sound(path):
        path.unlink()
    return path


def _is_sound(path: Path) -> bool:
    """Whether the store can be read; one that was damaged counts as none, as checkpoints do."""
    try:
        with closing(sqlite3.connect(path)) as store:
            return bool(store.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def _drawn(trial: optuna.Trial, classes: int, has_base: bool, sampler: Sampler) -> Hyper:
    """Return the parameters of a trial."""
    if sampler == "grid":
        hyper = msgspec.structs.replace(Hyper(), **{name: trial.suggest_categorical(name, values) for name, values in GRID.items()})
    else:
        hyper = Hyper(
            rate=trial.suggest_float("rate", min(GRID["rate"]) / 2, max(GRID["rate"]), log=True),
            dropout=trial.suggest_float("dropout", 0.0, 0.5),
            idf=trial.suggest_float("idf", 0.0, 1.0),
            base=trial.suggest_float("base", 0.0, 1.0) if has_base else 0.0,
            smoothing=trial.suggest_float("smoothing", 0.0, 0.1),
            batch=trial.suggest_categorical("batch", [16, 32, 64]),
            rank=trial.suggest_categorical("rank", [0, 16, 32]) if classes > 16 else 0,
        )
    trial.set_user_attr("hyper", msgspec.to_builtins(hyper))
    return hyper


def _loss(hyper: Hyper, samples: Samples, base: Floats | None, means: Means, end: float) -> float:
    """Return the validation loss of one network; give the trial up when time is over."""

    def report(_name: str, _number: int, _epoch: Epoch) -> None:
        if time.monotonic() > end:
            raise optuna.TrialPruned

    member = table_of(
        Candidate(name=SEARCHED, hyper=hyper, members=1), hyper, samples, base, msgspec.structs.replace(means, folder=None), report=report
    )
    scores, targets, weights = samples.validation.scores(member.table), samples.targets[samples.cut :], samples.weights[samples.cut :]
    return log_loss(scores * fitted_scale(scores, targets, weights), targets, weights)
