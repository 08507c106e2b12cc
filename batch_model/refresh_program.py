"""`python -m batch_model refresh`: the command line of a refresh, from the log or from a file."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from batch_model.cases import CasesError, read_cases
from batch_model.challenger import Asked
from batch_model.data import DataError
from batch_model.flags import OF_SETTINGS, WAIT_AT, add_refresh_flags, arguments_of
from batch_model.folder import RefreshFolder, lock_path, refresh_root
from batch_model.network import device_for
from batch_model.offline import OfflineReport, refresh_offline, specification_of
from batch_model.outcome import Outcome
from batch_model.publishing import report_path
from batch_model.refresh import Refresh, RefreshError
from batch_model.stages import Stages
from online_model.models import problems_of
from schemas.records import DEFAULT_TASK
from schemas.refresh_settings import RefreshSettings, read_refresh_settings
from schemas.settings import Settings, SettingsError, read_settings
from store.labelled_files import BadLine

__all__ = ["RefreshError", "add_parser"]

DONE = {"released", "shadow", "split", "dry run", "trained"}
_SKIPPED_SHOWN = 5


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints of a refresh: the verdict, why, the line, its gate's figures and where its report lies."""

    task: str
    verdict: str
    line: str
    cut_seq: int
    reasons: list[str]
    passed: bool
    labels: int
    champion: str
    champion_accuracy: float
    challenger_accuracy: float
    p_value: float
    p_log_loss: float
    data: str
    report: str
    seconds: float


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("refresh", help="retrain and release what is better")
    add_refresh_flags(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 if it came to a release or was not meant to, 1 if the champion stays."""
    settings, refresh = _settings(args)
    if args.train is not None:
        return _offline(args, settings, refresh)
    if args.report or args.model_out:
        raise DataError("--report and --model-out go with --train FILE; a refresh from the log writes its report itself")
    task = _task(args.task, settings)
    specification_of(settings)  # refuses other models
    cases = read_cases(Path(refresh.cases)) if refresh.cases else []
    folder = RefreshFolder(refresh_root(settings, refresh), task, lock=lock_path(settings, task))
    stages = _stages(task, args)
    _create(folder)
    with folder.alone():
        outcome = Refresh(settings, refresh, task, _asked(args), cases, folder, stages).run()
    _tell(outcome, report_path(outcome, folder), stages.seconds, as_json=args.json)
    return 0 if outcome.verdict in DONE else 1


def _settings(args: argparse.Namespace) -> tuple[Settings, RefreshSettings]:
    """Return both settings, flags before the environment; all that is wrong is said at once."""
    problems: list[str] = []
    settings, refresh = Settings(), RefreshSettings()
    flags = {f"MILLRACE_REFRESH_{name.upper()}": str(value) for name in OF_SETTINGS if (value := getattr(args, name)) is not None}
    try:
        settings = read_settings(os.environ)
        problems += problems_of(settings.model)
    except SettingsError as error:
        problems += str(error).splitlines()
    try:
        refresh = read_refresh_settings({**os.environ, **flags})
    except SettingsError as error:
        problems += str(error).splitlines()
    try:
        device_for(refresh.device)
    except ValueError as error:
        problems.append(f"MILLRACE_REFRESH_DEVICE: {error}")
    try:
        if refresh.cases:
            read_cases(Path(refresh.cases))
    except CasesError as error:
        problems += str(error).splitlines()
    if problems:
        raise SettingsError("\n".join(problems))
    return settings, refresh


def _task(given: str | None, settings: Settings) -> str:
    task = given or (settings.tasks[0] if len(settings.tasks) == 1 else DEFAULT_TASK)
    if task not in settings.tasks:
        raise DataError(f"task {task!r} is not configured; there are {', '.join(settings.tasks)}: see MILLRACE_TASKS")
    return task


def _asked(args: argparse.Namespace) -> Asked:
    command = shlex.join(["millrace", "refresh", *arguments_of(args)])
    return Asked(by=args.by, why=args.why or "", command=command, dry_run=args.dry_run, force=args.force, drill=args.drill)


def _stages(name: str, args: argparse.Namespace) -> Stages:
    wait_at = args.drill.removeprefix(WAIT_AT) if args.drill and args.drill.startswith(WAIT_AT) else None
    return Stages(name, _progress, wait_at=wait_at)


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _create(folder: RefreshFolder) -> None:
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder.root}: cannot be written: {error.strerror}; MILLRACE_REFRESH_FOLDER names another") from error


def _tell(outcome: Outcome, report: Path, seconds: float, *, as_json: bool) -> None:
    manifest, gate = outcome.manifest, outcome.manifest.gate
    if gate is None:
        raise AssertionError("a refresh from the log compares with a champion")
    if as_json:
        result = Result(
            task=manifest.task,
            verdict=outcome.verdict,
            line=manifest.line,
            cut_seq=manifest.data.cut_seq,
            reasons=outcome.reasons,
            passed=gate.passed,
            labels=gate.labels,
            champion=gate.champion_line,
            champion_accuracy=gate.champion.accuracy,
            challenger_accuracy=gate.challenger.accuracy,
            p_value=gate.p_value,
            p_log_loss=gate.p_log_loss,
            data=manifest.data.fingerprint,
            report=str(report),
            seconds=seconds,
        )
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=1).decode() + "\n")
        return
    said = [f"{manifest.task}: {outcome.verdict}: {manifest.line}, {gate.champion_line} served", *outcome.reasons, f"report: {report}"]
    sys.stdout.write("\n  ".join(said) + "\n")


def _offline(args: argparse.Namespace, settings: Settings, refresh: RefreshSettings) -> int:
    targets = [path for path in (args.report, args.model_out) if path is not None]
    for path in targets:
        if path.exists() and path.samefile(args.train):
            raise DataError(f"{path}: it is the file that is trained on; --report and --model-out name files that are written")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    stages = _stages(args.train.name.partition(".")[0], args)
    report, model = refresh_offline(args.train, settings, refresh, stages=stages, on_skip=_Skipped(), on_left_out=_progress)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=1)
    try:
        if args.report:
            args.report.write_bytes(encoded)
        if args.model_out:
            args.model_out.write_bytes(model)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be written: {error.strerror}") from error
    sys.stdout.write(encoded.decode() + "\n" if args.json else _said(report))
    return 0


class _Skipped:
    """Shows the first few lines of the file that were skipped."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, line: BadLine) -> None:
        self._count += 1
        if self._count <= _SKIPPED_SHOWN:
            _progress(f"skipped {line}")


def _said(report: OfflineReport) -> str:
    head = f"{report.file}: {report.candidate}, {report.data.rows:,} rows of {report.data.classes} classes, in {report.train_seconds:.1f} s"
    lines = [
        f"{head} ({report.rows_per_second:,.0f} rows a second), {report.peak_mib:,.0f} MiB; fold differs by {report.fold_max_abs_diff:.1e}"
    ]
    if report.test is not None:
        test = report.test
        figures = f"accuracy {test.accuracy:.2%}, macro-F1 {test.macro_f1:.2%}, log loss {test.log_loss:.4f}".replace("%", " %")
        lines.append(f"test, {report.test_labels:,} rows: {figures}")
    return "\n".join(lines) + "\n"
