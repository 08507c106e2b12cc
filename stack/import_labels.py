"""`millrace import-labels FILE`: teaches labelled texts from before Millrace, as self-contained labels that need no event.

A row without an id of its own gets one that is made of its task and text, and every label gets a `feedback_id` that is made of its
source, id and label: importing a file again teaches nothing twice, also where one text has two labels in it.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from schemas.parsing import RejectRecord, parse_feedback
from schemas.records import DEFAULT_TASK, Feedback, State
from schemas.settings import Settings, read_settings
from schemas.topics import Topic
from stack.errors import ConfigurationErrors
from stack.imported import Imported, Progress, follow
from stack.outbox import DeliveryError, Outbox
from stack.replay import INTERRUPTED, USER_ERRORS, SkippedLines, count, first_row_checked, stopped_by_signals, task_name
from stack.running_stack import settings_of
from store.committed import end_offsets
from store.import_ids import hashed, import_id
from store.labelled_files import BadLine, Row, SourceError

SOURCE = "import"
_ID_FIELDS = ("event_id", "id")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is imported: labels of `task`, at most `limit` of them (None: all), which name `source` as where they come from."""

    task: str = DEFAULT_TASK
    source: str = SOURCE
    limit: int | None = None


class BadRow(BadLine, frozen=True):
    """A row that gives no label; its number counts the rows of the file that could be read, from 1."""

    def __str__(self) -> str:
        """Return the row for a message."""
        return f"row {self.number}: {self.reason}"


def to_label(row: Row, plan: Plan, settings: Settings) -> Feedback:
    """Return the self-contained label of a row that has one; `event_id` (or `id`) and `weight` are among the row's other fields.

    Raises:
        RejectRecord: if Millrace would refuse it; the detail names the field.
    """
    event_id = _id(row, plan.task)
    fields = {
        "event_id": event_id,
        "feedback_id": hashed(plan.source, str(event_id), str(row.label)),
        "label": row.label,
        "text": row.text,
        "task": plan.task,
        "ts": row.ts,
        "source": plan.source,
        "weight": _weight(row.meta.get("weight")),
    }
    return parse_feedback(msgspec.json.encode(fields), tasks=settings.tasks, max_text_bytes=settings.max_text_bytes)


def _id(row: Row, task: str) -> object:
    given = next((value for name in _ID_FIELDS if (value := row.meta.get(name)) is not None), None)
    if given is None:
        return import_id(task, row.text)
    # A number is an id as well; what is neither is refused with the field's name.
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _weight(value: object) -> object:
    """Return the weight as JSON has it; CSV knows only text."""
    if value is None:
        return 1.0
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class Importer:
    """Sends the labels of one file once. `stop` ends it after the record in hand."""

    def __init__(self, settings: Settings, plan: Plan, progress: Progress) -> None:
        """Prepare; `send` and `wait` do it.

        Raises:
            ConfigurationErrors: if the task is not configured.
            KafkaUnavailable: if no broker answers, or it has no such topics.
        """
        if plan.task not in settings.tasks:
            raise ConfigurationErrors([f"task {plan.task!r} is not configured; there are {', '.join(settings.tasks)}: see MILLRACE_TASKS"])
        self._settings, self._plan, self._progress = settings, plan, progress
        self._feedback, self._states = (settings.topic_prefix + topic for topic in (Topic.FEEDBACK, Topic.LABEL_STATES))
        ends = end_offsets(settings.kafka, [self._feedback, self._states])
        self._from = ends[self._states]
        self.imported = Imported(ends[self._feedback])
        self.stop = threading.Event()

    def send(self, rows: Iterable[Row | BadLine], *, on_skip: Callable[[BadLine], None]) -> None:
        """Send the labels of the rows, and wait until Kafka has them.

        Raises:
            KafkaUnavailable: if no broker answers.
            DeliveryError: if Kafka does not take a record.
            SourceError: if the file breaks off.
        """
        kafka, imported = self._settings.kafka, self.imported
        outbox = Outbox(kafka, at_full_speed=True, stop=self.stop, on_taken=imported.note_sent)
        with outbox:
            for label in self._labels(rows, on_skip):
                if not outbox.put(self._feedback, label):
                    break
                imported.sent += 1
                self._progress.show(imported)
        if outbox.failure and not self.stop.is_set():
            raise DeliveryError(f"Kafka at {kafka} refused {outbox.refused} labels, the first: {outbox.failure}")

    def _labels(self, rows: Iterable[Row | BadLine], on_skip: Callable[[BadLine], None]) -> Iterator[Feedback]:
        for number, row in enumerate(rows, 1):
            if self.imported.sent == self._plan.limit:
                return
            if isinstance(row, Row) and row.label is None:
                self.imported.unlabelled += 1
                continue
            if isinstance(row, Row):
                try:
                    yield to_label(row, self._plan, self._settings)
                    continue
                except RejectRecord as error:
                    row = BadRow(number, str(error))  # noqa: PLW2901 - the row turned out to be a bad one
            self.imported.skipped += 1
            on_skip(row)

    def wait(self) -> None:
        """Wait until every label is in a final state, nothing changes any more, or `stop` is set.

        Raises:
            KafkaUnavailable: if the states cannot be read.
        """
        follow(self._settings.kafka, self._states, self._from, self.imported, stop=self.stop, progress=self._progress)


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("import-labels", help="teach labelled texts from before Millrace, without events", description=__doc__)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="JSON Lines or CSV (also .gz) with text and label, and optionally event_id (or id), ts, weight",
    )
    parser.add_argument("--task", type=task_name, default=DEFAULT_TASK, metavar="NAME", help="task of the labels (default: %(default)s)")
    parser.add_argument("--limit", type=count, metavar="N", help="at most so many labels")
    parser.add_argument(
        "--source", type=source_name, default=SOURCE, metavar="NAME", help="where the labels say they come from (default: %(default)s)"
    )
    parser.add_argument("--no-wait", action="store_true", help="only send: do not wait until the labels are learned")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="bootstrap servers (default: those of the running stack, or MILLRACE_KAFKA)")
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="data folder of the running stack")
    parser.set_defaults(func=run)


def source_name(text: str) -> str:
    """Return a valid source of labels."""
    if len(text) > 256:
        raise argparse.ArgumentTypeError(f"it has {len(text)} characters, at most 256 fit")
    return text


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 if all labels are decided, 1 if some are not or were rejected, 2 if the user must act, 130 if interrupted."""
    try:
        rows = first_row_checked(args.file)
        settings = settings_of(args.data_dir) or read_settings(os.environ)
        settings = msgspec.structs.replace(settings, kafka=args.kafka or settings.kafka)
        plan = Plan(task=args.task, source=args.source, limit=args.limit)
        importer = Importer(settings, plan, Progress(lambda line: print(line, flush=True)))
        with stopped_by_signals(importer.stop):
            return _run(importer, rows, args)
    except USER_ERRORS as error:
        print(f"millrace import-labels: {error}", file=sys.stderr)
        return 2


def _run(importer: Importer, rows: Iterable[Row | BadLine], args: argparse.Namespace) -> int:
    began = time.monotonic()
    importer.send(rows, on_skip=SkippedLines().show)
    imported = importer.imported
    if not imported.sent:
        raise SourceError(f"{args.file}: no label in it can be imported: {imported.left_out() or 'it has no rows'}")
    if not args.no_wait:
        importer.wait()
    print(imported.summary(time.monotonic() - began, waited=not args.no_wait))
    if importer.stop.is_set():
        print("interrupted; import the file again to go on: what was sent already counts as duplicate")
        return INTERRUPTED
    if args.no_wait:
        return 0
    if imported.undecided:
        print(f"not finished: {imported.undecided} labels have no final state; does learn run? See `millrace status`", file=sys.stderr)
    return 0 if not imported.undecided and not imported.counts()[State.REJECTED] else 1
