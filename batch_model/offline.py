"""A refresh without a stack: trained on the rows of a file, measured on its test part, as figures and as a saved model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from batch_model.challenger import line_of
from batch_model.data import DataError, Window
from batch_model.file_data import from_file, read_file
from batch_model.fit import Fitted, fit
from batch_model.memory import peak_mib
from batch_model.progress import Doing
from batch_model.stages import Stages
from batch_model.storing import artifact_bytes, as_stored, fit_options, variant_of
from online_model.frozen import score_frozen
from schemas.manifest import DataSpec
from schemas.records import DEFAULT_TASK, Scores
from schemas.refresh_settings import RefreshSettings
from schemas.settings import Settings
from store.labelled_files import BadLine


class OfflineReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an offline refresh.

    Attributes:
        file: the file that was trained on.
        test: the scores on its test part; null without one.
        test_labels: how many labels that part has.
        train_seconds: of the whole training: features, candidates, the winner on everything.
        rows_per_second: training rows a second, over all passes of all networks.
        fold_max_abs_diff: the largest difference of logits between a network and its table.
        peak_mib: of the process.
        candidate: what won.
        metrics: whatever else the training measured.
        parameters: of what won.
        data: what was trained on.
        line: the name of the line that the saved model begins.
        specification: of the model.
    """

    file: str
    test: Scores | None
    test_labels: int
    train_seconds: float
    rows_per_second: float
    fold_max_abs_diff: float
    peak_mib: float
    candidate: str
    metrics: dict[str, float]
    parameters: dict[str, object]
    data: DataSpec
    line: str
    specification: str


def refresh_offline(
    path: Path,
    settings: Settings,
    refresh: RefreshSettings,
    *,
    stages: Stages,
    on_skip: Callable[[BadLine], None],
    on_left_out: Callable[[str], None],
) -> tuple[OfflineReport, bytes]:
    """Train on a file as a refresh does; returns the figures, and the model's artifact.

    Raises:
        SourceError: if the file cannot be read.
        DataError: if there is too little in it.
    """
    with stages.stage("log", f"reading {path}"):
        rows = read_file(path, on_skip=on_skip)
        for line in rows.left_out:
            on_left_out(line)
        data = from_file(rows, Window(labels=refresh.window_labels, ms=refresh.window_s * 1000))
        data.newest(refresh.validation_share)  # refuses what cannot be split
    with stages.stage("training", f"on {data.spec.rows:,} rows of {data.spec.classes} classes"):
        options = fit_options(refresh, specification_of(settings), None)
        fitted = fit(data.rows, None, lambda _row: None, options, lambda doing: stages.detail(told(doing)))
    variant = variant_of(refresh)
    fitted = as_stored(fitted, variant)
    line = line_of(0, fitted.model)
    model = artifact_bytes(settings, DEFAULT_TASK, fitted.model, line, cut_seq=0, updated_at=data.rows[-1].time, weights=variant.weights)
    test: Scores | None = None
    if rows.test:
        with stages.stage("test", f"scoring {len(rows.test):,} rows of the test part"):
            test = score_frozen(fitted.model, ((row.text, row.label) for row in rows.test))
    return _report(path, fitted, data.spec, test, line), model


def specification_of(settings: Settings) -> str:
    """Return the specification of the own engine as it is configured.

    Raises:
        DataError: if another model is configured.
    """
    name, mark, _ = settings.model.partition("?")
    if name != "softmax":
        raise DataError(f"MILLRACE_MODEL is {settings.model}: a refresh trains the own engine, softmax, and no other model")
    if "memory_mib=" in settings.model:
        return settings.model
    return f"{settings.model}{'&' if mark else '?'}memory_mib={settings.model_memory_mib}"


def told(doing: Doing) -> str:
    """Return what a training is doing, in a line."""
    if doing.epoch is None:
        return f"{doing.stage} {doing.done:.0%}"
    loss = "" if doing.epoch.loss is None else f", validation loss {doing.epoch.loss:.4f}"
    return f"{doing.stage} {doing.done:.0%}, {doing.candidate} pass {doing.epoch.epoch}: loss {doing.epoch.train_loss:.4f}{loss}"


def _report(path: Path, fitted: Fitted, data: DataSpec, test: Scores | None, line: str) -> OfflineReport:
    metrics = dict(fitted.metrics)
    return OfflineReport(
        file=str(path),
        test=test,
        test_labels=test.labels if test else 0,
        train_seconds=metrics.pop("train_seconds"),
        rows_per_second=metrics.pop("rows_per_second"),
        fold_max_abs_diff=metrics.pop("fold_max_abs_diff"),
        peak_mib=peak_mib(),
        candidate=fitted.candidate,
        metrics=metrics,
        parameters=dict(fitted.parameters),
        data=data,
        line=line,
        specification=fitted.model.specification,
    )
