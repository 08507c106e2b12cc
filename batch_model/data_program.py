"""`python -m batch_model data`: the rows that a release was trained on, brought together again from the log."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from batch_model.data import DataError, lines
from batch_model.log_data import rebuild
from schemas.records import DEFAULT_TASK
from schemas.settings import read_settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.model_log import ModelLogReader
from store.releases import ReleaseFolder, ReleaseUnknown


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("data", help="rebuild what a release was trained on", description=__doc__)
    parser.add_argument("--task", default=DEFAULT_TASK, metavar="NAME", help="task (default: %(default)s)")
    parser.add_argument("--line", required=True, metavar="VERSION", help="the release")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the rows there, as JSON Lines: its SHA-256 is the fingerprint")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 if the rows are those of the release, 2 if they cannot be had any more."""
    settings = read_settings(os.environ)
    try:
        manifest = ReleaseFolder(ArtifactFolder(settings.artifacts)).get(args.task, args.line)
    except ReleaseUnknown as error:
        raise DataError(str(error)) from error
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    rows = rebuild(reader, args.task, manifest.data)
    if args.output:
        try:
            args.output.write_bytes(b"".join(lines(rows)))
        except OSError as error:
            raise DataError(f"{args.output}: cannot be written: {error.strerror}") from error
    spec = manifest.data
    window = f", the newest {spec.window_labels:,}" if spec.window_labels else ""
    window += f", of the last {spec.window_ms // 1000:,} s" if spec.window_ms else ""
    said = f"{args.line}: {spec.rows:,} labels of {spec.classes} classes from entries {spec.first_seq} to {spec.cut_seq} of the log{window}"
    sys.stdout.write(f"{said}\nSHA-256 {spec.fingerprint}: the same rows again\n")
    return 0
