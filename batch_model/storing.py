"""From the settings to a model and its artifact: how it is trained, and how its table is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import msgspec

from batch_model import variants
from batch_model.fit import FitOptions, Fitted
from batch_model.search import SearchOptions
from batch_model.variants import Variant, Weights, pack, unpack
from online_model.models import OwnModel, TextModel
from online_model.replica import Replica
from online_model.snapshots import Arrays
from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings

_WEIGHTS: dict[Literal["full", "float16", "int8"], Weights] = {"full": "float32", "float16": "float16", "int8": "int8"}


def variant_of(refresh: RefreshSettings) -> Variant:
    """Return how the settings want the table to be stored."""
    return Variant(weights=_WEIGHTS[refresh.variant], prune=refresh.prune_share)


def fit_options(refresh: RefreshSettings, specification: str, folder: Path | None) -> FitOptions:
    """Return how to train, as it is set; what comes of it is the full model.

    Args:
        refresh: the settings.
        specification: of the model, where there is no champion.
        folder: for checkpoints; None for none.
    """
    return FitOptions(
        validation_share=refresh.validation_share,
        seed=refresh.seed,
        device=refresh.device,
        folder=folder,
        specification=specification,
        search=SearchOptions(seconds=refresh.search_seconds, sampler=refresh.search_sampler),
    )


def as_stored(fitted: Fitted, variant: Variant) -> Fitted:
    """Return what was trained with the model as it is once it was stored and read back: that one is compared, and serves."""
    return fitted if variant == variants.FULL else msgspec.structs.replace(fitted, model=unpack(pack(fitted.model, variant), fitted.model))


class _Packed:
    """A model whose arrays are given out as they are to be stored."""

    def __init__(self, model: OwnModel, weights: Weights) -> None:
        self._model = model
        # What was to be left out has been: a second time would leave out more.
        self._variant = Variant(weights=weights)

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def arrays(self) -> Arrays:
        return pack(self._model, self._variant)


def artifact_bytes(settings: Settings, task: str, model: OwnModel, line: str, *, cut_seq: int, updated_at: int, weights: Weights) -> bytes:
    """Return the artifact: the snapshot of a replica that holds the model alone, as it is after entry `cut_seq`."""
    replica = Replica.configured(settings, task)
    replica.line, replica.model = line, cast("TextModel", _Packed(model, weights))
    replica.seq, replica.updated_at = cut_seq, updated_at
    return replica.snapshot()
