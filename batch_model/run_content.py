"""What a run of the registry holds of a refresh: its tags, parameters, metrics and files."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from batch_model import report_parts
from batch_model.event_files import slugs, write_event_files
from batch_model.outcome import Outcome, calibration, confused_pairs, confusion
from schemas.records import Scores

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param

PAIRS = 50
_VALUE_LENGTH = 6000
_TAG_LENGTH = 5000
_KEY_LENGTH = 250
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_\-. :/]")


def tags_of(outcome: Outcome) -> dict[str, str]:
    """Return what a run is found by."""
    manifest = outcome.manifest
    notes = "\n".join([report_parts.headline(outcome), "", *(f"- {reason}" for reason in outcome.reasons)])
    tags = {
        "task": manifest.task,
        "line": manifest.line,
        "seq": str(manifest.origin.cut_seq),
        "verdict": outcome.verdict,
        "candidate": manifest.candidate,
        "fingerprint": manifest.data.fingerprint,
        "parent": manifest.parent or "",
        "why": manifest.why,
        "mlflow.user": manifest.by,
        "mlflow.source.name": outcome.command,
        "mlflow.source.type": "JOB",
        "mlflow.note.content": notes,
    }
    return {name: value[:_TAG_LENGTH] for name, value in tags.items()}


def parameters_of(outcome: Outcome) -> list[Param]:
    """Return hyper-parameters by their names, and settings, data and versions behind a prefix."""
    from mlflow.entities import Param  # noqa: PLC0415 - MLflow is loaded when there is something to write

    manifest = outcome.manifest
    values: dict[str, object] = {**manifest.parameters, "candidate": manifest.candidate, "variant": manifest.variant}
    values |= {f"data/{name}": value for name, value in _fields(manifest.data).items()}
    values |= {f"settings/{name}": value for name, value in _fields(outcome.settings).items()}
    values |= {f"versions/{name}": value for name, value in manifest.versions.items()}
    return [Param(_key(name), str(value)[:_VALUE_LENGTH]) for name, value in sorted(values.items()) if value is not None and value != ""]


def metrics_of(outcome: Outcome) -> list[Metric]:
    """Return what was measured, the passes of each candidate with their numbers as steps; MLflow has no place for what is not finite."""
    from mlflow.entities import Metric  # noqa: PLC0415 - MLflow is loaded when there is something to write

    at = outcome.manifest.created_at
    single = [Metric(_key(name), float(value), at, 0) for name, value in sorted(_single(outcome).items()) if math.isfinite(value)]
    passes = [
        Metric(_key(f"{name}/{measured}"), float(value), at, step)
        for name, candidate in zip(slugs(outcome.candidates), outcome.candidates, strict=True)
        for step, epoch in enumerate(candidate.epochs, start=1)
        for measured, value in epoch.items()
        if math.isfinite(value)
    ]
    return [*single, *passes]


def _single(outcome: Outcome) -> dict[str, float]:
    """Return what was measured once."""
    gate = outcome.manifest.gate
    values: dict[str, float] = {**outcome.manifest.metrics, "peak_memory_mib": outcome.peak_memory_mib}
    if gate is not None:
        values |= _named("champion", gate.champion) | _named("challenger", gate.challenger)
        values |= {"gate/labels": gate.labels, "gate/p_value": gate.p_value, "gate/passed": float(gate.passed)}
        values |= {"gate/only_champion": gate.only_champion, "gate/only_challenger": gate.only_challenger}
    if outcome.test is not None:
        values |= _named("test", outcome.test)
    for model in report_parts.calibrations(outcome):
        values[f"{model.name}/ece"] = model.ece
    for stage in outcome.stages:
        values[f"seconds/{stage.name}"] = stage.seconds
    for name, candidate in zip(slugs(outcome.candidates), outcome.candidates, strict=True):
        values |= {f"{name}/best_{measured}": value for measured, value in candidate.validation.items()}
    for variant in outcome.variants:
        at = f"variant/{variant.name}"
        values |= {f"{at}/size_bytes": variant.size_bytes, f"{at}/accuracy": variant.accuracy}
        values[f"{at}/predictions_per_second"] = variant.predictions_per_second
    return values


def _named(model: str, scores: Scores) -> dict[str, float]:
    return {f"{model}/accuracy": scores.accuracy, f"{model}/macro_f1": scores.macro_f1, f"{model}/log_loss": scores.log_loss}


def write_files(folder: Path, outcome: Outcome, report: str, model: bytes | None) -> None:
    """Write the files of a run: report, curves, confusion matrix, calibration, confused pairs, manifest, the release.

    Args:
        folder: where; it exists.
        outcome: what came of the refresh.
        report: its report, as HTML.
        model: the release artifact, if there is one.
    """
    (folder / "report.html").write_text(report, encoding="utf-8")
    for name, content in _documents(outcome).items():
        (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    write_event_files(folder / "curves", outcome.candidates, time.time())
    if model is not None:
        (folder / "model").mkdir()
        (folder / "model" / f"{outcome.manifest.line}.safetensors").write_bytes(model)
        (folder / "model" / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome.manifest)))


def _documents(outcome: Outcome) -> dict[str, Any]:
    """Return the files that are JSON, by name."""
    documents: dict[str, Any] = {
        "manifest.json": outcome.manifest,
        "candidates.json": outcome.candidates,
        "variants.json": outcome.variants,
        "class_rows.json": outcome.class_rows,
    }
    if not outcome.compared:
        return documents
    documents["confused_pairs.json"] = confused_pairs(outcome.compared, PAIRS)
    documents["confusion.json"] = [
        {"true": true, "said": said, "times": times} for (true, said), times in sorted(confusion(outcome.compared, "challenger").items())
    ]
    bins = calibration(outcome.compared, "challenger")
    documents["calibration.json"] = {
        "counts": bins.counts.tolist(),
        "mean_confidence": (bins.confidences / bins.counts.clip(1)).tolist(),
        "accuracy": (bins.hits / bins.counts.clip(1)).tolist(),
        "ece": bins.ece,
    }
    return documents


def _key(name: str) -> str:
    """Return a name as MLflow takes it.

    >>> _key("seconds/train, fold"), _key("größe")
    ('seconds/train- fold', 'gr--e')
    """
    return _NOT_IN_KEYS.sub("-", name)[:_KEY_LENGTH]


def _fields(record: msgspec.Struct) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
