"""`millrace audit`: rebuilds every model from the committed log alone, and compares what was served and stored with it.

The log is applied to an empty replica, entry by entry. Each snapshot that is still stored must equal the replica at its
seq, byte for byte; each committed prediction must be what the replica says at the prediction's seq.
"""

from __future__ import annotations

import argparse
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from online_model.replica import Replica, SnapshotError
from schemas.log import SnapshotEntry
from schemas.parsing import encode, record_parser
from schemas.records import Prediction
from schemas.settings import Settings, read_settings
from schemas.topics import Topic
from stack.audit_lines import AuditedLines
from stack.running_stack import settings_of
from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing
from store.committed import read_committed
from store.model_log import ModelLogReader

SHOWN = 10


class Audit(msgspec.Struct, kw_only=True):
    """What an audit of one task found; it passed if nothing differs.

    Attributes:
        task: the task.
        entries: entries of the log that were applied.
        fingerprint: SHA-256 of the model's arrays after them.
        snapshots: stored snapshots that were compared.
        predictions: predictions that were repeated.
        shadow_predictions: predictions of watched lines that were repeated.
        differences: the first few that differ, in words.
        differing: how many differ.
    """

    task: str
    entries: int = 0
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
    waiting, shadows = (_predictions(settings, task, topic) for topic in (Topic.PREDICTIONS, Topic.SHADOW_PREDICTIONS))
    result.predictions, result.shadow_predictions = len(waiting), len(shadows)
    say(f"task {task}: {len(waiting) + len(shadows)} predictions to repeat")
    due = deque(sorted([*waiting, *shadows], key=lambda p: p.model.seq))
    log = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    lines = AuditedLines(Replica.configured(settings, task), due, log, ArtifactFolder(settings.artifacts))
    for entry in log.entries(task):
        _repeat(lines, due, settings, result)
        if isinstance(entry, SnapshotEntry):
            _compare_snapshot(lines.replica, entry, settings, result)
        lines.apply(entry)
    _repeat(lines, due, settings, result)
    for prediction in due:
        result.differ(f"prediction {prediction.event_id} names seq {prediction.model.seq}, the log ends at {lines.replica.seq}")
    for problem in lines.unusable:
        result.differ(problem)
    result.entries, result.fingerprint = lines.replica.seq, lines.replica.fingerprint()
    return result


def _predictions(settings: Settings, task: str, topic: Topic) -> list[Prediction]:
    parse = record_parser(Prediction)
    batches = read_committed(settings.kafka, settings.topic_prefix + topic)
    return [p for batch in batches for record in batch if record.value and (p := parse(record.value)).task == task]


def _repeat(lines: AuditedLines, due: deque[Prediction], settings: Settings, result: Audit) -> None:
    """Repeat the predictions that were made at the replica's seq."""
    while due and due[0].model.seq <= lines.replica.seq:
        served = due.popleft()
        again = lines.predict(served.model, served.text, settings.proba_top)
        if again is None:
            result.differ(f"prediction {served.event_id} at seq {served.model.seq}: nothing is known of line {served.model.line} then")
        elif (served.label, served.proba, served.classes, served.model) != (again.label, again.proba, again.classes, again.model):
            result.differ(f"prediction {served.event_id} at seq {served.model.seq}: served {served.label}, repeated {again.label}")


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
    if _state_of(stored) != _state_of(replica):
        result.differ(f"snapshot {entry.address} is not the model at seq {entry.at_seq}")


def _state_of(replica: Replica) -> tuple[object, ...]:
    models = {line: model.fingerprint() for line, model in replica.lines.models().items()}
    return replica.seq, replica.line, models, replica.trials(), replica.quality.stored()


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
        f"  model {result.fingerprint}",
        *(f"  {difference}" for difference in result.differences),
    ]
    return "\n".join(lines)
