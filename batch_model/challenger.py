"""The challenger as a release: the bytes of its artifact, its line's name, and the manifest."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version

import msgspec

from batch_model.fit import Fitted
from online_model.models import TextModel
from schemas.log import Metrics, Origin
from schemas.manifest import DataSpec, Gate, Manifest
from schemas.refresh_settings import RefreshSettings

LIBRARIES = ("torch", "numpy", "numba", "safetensors", "optuna", "millrace")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a refresh, and what for.

    Attributes:
        by: who or what.
        why: for what reason.
        command: what repeats it on the command line.
        dry_run: do everything but send the command.
        force: send it although the gate says no.
        drill: something that goes wrong on purpose: `shuffle-labels`, or `wait-at=STAGE`; None for nothing.
    """

    by: str
    why: str = ""
    command: str = ""
    dry_run: bool = False
    force: bool = False
    drill: str | None = None


def line_of(cut_seq: int, model: TextModel) -> str:
    """Return the name of the line that a model begins: the training cut, and 8 digits of the checksum of what the model has learned.

    Not of the artifact, whose bytes hold the name.
    """
    return f"r{cut_seq}-{model.fingerprint()[:8]}"


def manifest_of(
    task: str, line: str, asked: Asked, fitted: Fitted, data: DataSpec, *, parent: str | None, gate: Gate | None, refresh: RefreshSettings
) -> Manifest:
    """Return the manifest of a release, before its artifact is stored."""
    return Manifest(
        task=task,
        line=line,
        created_at=int(time.time() * 1000),
        by=asked.by,
        why=asked.why,
        origin=Origin(cut_seq=data.cut_seq),
        specification=fitted.model.specification,
        parent=parent,
        candidate=fitted.candidate,
        variant=refresh.variant,
        parameters=flat(fitted.parameters) | {"seed": refresh.seed, "prune_share": refresh.prune_share},
        metrics=dict(fitted.metrics),
        data=data,
        gate=gate,
        versions={name: version(name) for name in LIBRARIES} | {"python": sys.version.split()[0]},
    )


Scalar = str | int | float | bool | None


def flat(values: object, prefix: str = "") -> dict[str, Scalar]:
    """Return nested parameters as one level, names joined by dots.

    >>> flat({"a": {"rank": 8, "passes": [3, 4]}})
    {'a.rank': 8, 'a.passes': '3,4'}
    """
    if isinstance(values, dict):
        found: dict[str, Scalar] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}.{name}" if prefix else str(name))
        return found
    if isinstance(values, str | int | float | bool) or values is None:
        return {prefix: values}
    return {prefix: ",".join(map(str, values)) if isinstance(values, list | tuple) else str(values)}


def gate_metrics(gate: Gate) -> Metrics:
    """Return what the entry of the log says of a comparison."""
    return {
        "labels": float(gate.labels),
        "champion_accuracy": gate.champion.accuracy,
        "challenger_accuracy": gate.challenger.accuracy,
        "champion_macro_f1": gate.champion.macro_f1,
        "challenger_macro_f1": gate.challenger.macro_f1,
        "champion_log_loss": gate.champion.log_loss,
        "challenger_log_loss": gate.challenger.log_loss,
        "only_champion": float(gate.only_champion),
        "only_challenger": float(gate.only_challenger),
        "p_value": gate.p_value,
        "p_log_loss": gate.p_log_loss,
        "passed": float(gate.passed),
    }
