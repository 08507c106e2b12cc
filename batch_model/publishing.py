"""What a refresh leaves for people: its page, the record behind it, and its run in the registry. Nothing of it decides anything."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import msgspec

from batch_model.champions import Champions
from batch_model.folder import RefreshFolder
from batch_model.mlflow_client import registry_place
from batch_model.outcome import Outcome
from batch_model.registry import Registry
from batch_model.report import page
from schemas.redis_address import without_password

log = logging.getLogger(__name__)


def publish(outcome: Outcome, folder: RefreshFolder, champions: Champions, *, model: bytes | None) -> Path | None:
    """Write the report, and the registry, and tell it what serves now; returns the page.

    A failure is logged and fails nothing: the model log has what counts.

    Args:
        outcome: what came of the refresh.
        folder: of the task's refreshes.
        champions: with the history of what serves, which is read on.
        model: the release artifact; None if nothing was released.
    """
    place = registry_place(outcome.settings, folder.root)
    outcome = without_secrets(outcome)
    html = page(outcome)
    written = _written(outcome, html, folder)
    if place is not None:
        registry = Registry(place, outcome.settings.experiment)
        registry.record(outcome, html, model)
        champions.history.update(champions.reader)
        registry.sync(outcome.manifest.task, {known.line: known.state for known in champions.history.lines()})
    return written


def without_secrets(outcome: Outcome) -> Outcome:
    """Return the outcome fit to be shown: the address of the registry may hold a password."""
    registry = without_password(outcome.settings.registry)
    return msgspec.structs.replace(outcome, settings=msgspec.structs.replace(outcome.settings, registry=registry))


def _written(outcome: Outcome, html: str, folder: RefreshFolder) -> Path | None:
    target = report_path(outcome, folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome), indent=1))
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        log.warning("the report %s cannot be written: %s", target, error)
        return None
    return target


def report_path(outcome: Outcome, folder: RefreshFolder) -> Path:
    """Return where the page of a refresh lies: by the time of its manifest, so that the newest sorts last."""
    made = time.strftime("%Y%m%d-%H%M%S", time.gmtime(outcome.manifest.created_at / 1000))
    return folder.reports / f"{made}-{outcome.manifest.line}.html"
