"""What the report says of the ways to store a table: the usual ones, and the one that is configured."""

from __future__ import annotations

from collections.abc import Sequence

from batch_model import outcome
from batch_model.rows import LabelledText
from batch_model.storing import variant_of
from batch_model.variants import VARIANTS, Measured, measured
from online_model.models import OwnModel
from schemas.refresh_settings import RefreshSettings

_MEASURED = 2000
"""Texts on which variants are compared, at most: the newest."""


def variant_table(model: OwnModel, refresh: RefreshSettings, rows: Sequence[LabelledText]) -> list[outcome.Variant]:
    """Measure the usual variants of a model and the configured one, the full one first.

    Args:
        model: as it is at the cut; it is not changed.
        refresh: says which variant is released.
        rows: that it has not learned; without rows there is nothing to measure.
    """
    if not rows:
        return []
    configured = variant_of(refresh)
    variants = VARIANTS if configured in VARIANTS else (*VARIANTS, configured)
    return [_row(found, chosen=found.variant == configured) for found in measured(model, variants, rows[-_MEASURED:])]


def _row(found: Measured, *, chosen: bool) -> outcome.Variant:
    weights = "full" if found.variant.weights == "float32" else found.variant.weights
    return outcome.Variant(
        name=f"{weights}, {found.variant.prune:.0%} of the rows pruned" if found.variant.prune else weights,
        size_bytes=found.artifact_bytes,
        predictions_per_second=found.predictions_per_second or 0.0,
        accuracy=found.accuracy or 0.0,
        chosen=chosen,
    )
