"""`millrace audit`: rebuilds every model from the committed log alone, and compares what was served and stored with it.

The log is applied to an empty replica, entry by entry; a line that comes in is made from its artifact and the log. Each snapshot
that is still stored must equal the replica at its seq, byte for byte; each committed prediction must be what the line that it names
says at the seq that it names.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from online_model.replica import Replica, SnapshotError
from schemas.log import SnapshotEntry
from schemas.parsing import encode, record_parser
from schemas.records import Prediction
from schemas.settings import Settings, read_settings
from schemas.topics import Topic
from stack.audit_lines import AuditLines
from stack.running_stack import settings_of
from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing
from store.committed import read_committed
from store.log_reader import ModelLogReader

SHOWN = 10


class Audit(msgspec.Struct, kw_only=True):
    """What an audit of one task found; it passed if nothing differs.

    Attributes:
        task: the task.
        entries: entries of the log that were applied.
        line: the line that serves after them.
        fingerprint: SHA-256 of its model's arrays.
        snapshots: stored snapshots that were compared.
        predictions: predictions that were repeated.
        shadow_predictions: predictions of shadows that were repeated.
        differences: the first few that differ, in words.
        differing: how many differ.
    """

    task: str
    entries: int = 0
    line: str = ""
    fingerprint: str = ""
    snapshots: int = 0
    predictions: int = 0
    shadow_predictions: int = 0
    differences: list[str] = []
    differing: int = 0

    def differ(self, what: str) -> None:
        """Note a difference."""
        self.differing += 1
        if len(self.differences) < SHOWN:
            self.differences.append(what)


def audit(settings: Settings, task: str, say: Callable[[str], None] = lambda _: None) -> Audit:
    """Rebuild the task's model from the log's first entry, and compare.

    Raises:
        LogGap: if the log's first entries are gone or one is missing.
        KafkaUnavailable: if the topics cannot be read.
    """
    result = Audit(task=task)
    served, shadows = (_predictions(settings, task, topic) for topic in (Topic.PREDICTIONS, Topic.SHADOW_PREDICTIONS))
    result.predictions, result.shadow_predictions = len(served), len(shadows)
    waiting = sorted([*served, *shadows], key=lambda p: p.model.seq)
    say(f"task {task}: {len(waiting)} predictions to repeat")
    replica = Replica.configured(settings, task)
    last_named = {prediction.model.line: prediction.model.seq for prediction in waiting}
    due = iter(waiting)
    prediction = next(due, None)
    log = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    lines = AuditLines(replica, log, ArtifactFolder(settings.artifacts), last_named)
    for entry in log.entries(task):
        prediction = _repeat(lines, prediction, due, settings, result)
        if isinstance(entry, SnapshotEntry):
            _compare_snapshot(replica, entry, settings, result)
        if (problem := lines.apply(entry)) is not None:
            result.differ(problem)
    prediction = _repeat(lines, prediction, due, settings, result)
    if prediction is not None:
        result.differ(f"prediction {prediction.event_id} names seq {prediction.model.seq}, the log ends at {replica.seq}")
    result.entries, result.fingerprint, result.line = replica.seq, replica.fingerprint(), replica.line
    return result


def _predictions(settings: Settings, task: str, topic: Topic) -> list[Prediction]:
    parse = record_parser(Prediction)
    batches = read_committed(settings.kafka, settings.topic_prefix + topic)
    return [p for batch in batches for record in batch if record.value and (p := parse(record.value)).task == task]


def _repeat(
    lines: AuditLines, prediction: Prediction | None, due: Iterator[Prediction], settings: Settings, result: Audit
) -> Prediction | None:
    """Repeat the predictions that were made at the replica's seq, and return the first one that was made later."""
    while prediction is not None and prediction.model.seq <= lines.replica.seq:
        version = prediction.model
        again = lines.predict(version.line, prediction.text, settings.proba_top)
        if again is None:
            result.differ(f"prediction {prediction.event_id} at seq {version.seq}: there was no line {version.line}")
        elif (prediction.label, prediction.proba, prediction.classes, version) != (again.label, again.proba, again.classes, again.model):
            result.differ(
                f"prediction {prediction.event_id} of {version.line} at seq {version.seq}: served {prediction.label}, "
                f"repeated {again.label}"
            )
        prediction = next(due, None)
    return prediction


def _compare_snapshot(replica: Replica, entry: SnapshotEntry, settings: Settings, result: Audit) -> None:
    try:
        data = ArtifactFolder(settings.artifacts).get(entry.address, entry.sha256)
        stored = Replica.from_snapshot(data, allow_pickle=settings.allow_pickle)
    except ArtifactMissing:
        return  # old ones are removed
    except (ArtifactCorrupt, SnapshotError) as error:
        result.differ(f"snapshot {entry.address} is damaged: {error}")
        return
    result.snapshots += 1
    if _compared(stored) != _compared(replica) or (stored.seq, stored.line) != (entry.at_seq, entry.line):
        result.differ(f"snapshot {entry.address} is not the model at seq {entry.at_seq}")


def _compared(replica: Replica) -> tuple[object, ...]:
    """Return all that a snapshot must have in common with the replica: a learner may have been started with another detector of drift."""
    fingerprints = {name: model.fingerprint() for name, model in replica.lines.models().items()}
    origins = {name: replica.origin_of(name) for name in fingerprints}
    return replica.seq, replica.line, fingerprints, origins, replica.trials(), replica.quality.stored()


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "audit", help="rebuild the models from the log, and compare snapshots and predictions", description=__doc__
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack (default: settings from MILLRACE_*)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Audit every task; 0 if nothing differs, else 1."""
    settings = settings_of(args.data_dir) or read_settings(os.environ)
    results = [audit(settings, task, (lambda _: None) if args.json else print) for task in settings.tasks]
    for result in results:
        print(encode(result).decode() if args.json else _in_words(result))
    return 1 if any(result.differing for result in results) else 0


def _in_words(result: Audit) -> str:
    verdict = f"{result.differing} DIFFER" if result.differing else "all equal"
    counted = f"{result.predictions} predictions, {result.shadow_predictions} of shadows"
    lines = [
        f"task {result.task}: {result.entries} log entries, {result.snapshots} snapshots, {counted}: {verdict}",
        f"  line {result.line}, model {result.fingerprint}",
        *(f"  {difference}" for difference in result.differences),
    ]
    return "\n".join(lines)
