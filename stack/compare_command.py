"""`millrace compare PREFIX`: what two installations on the same Kafka say of the same events, this one and the one of another topic prefix.

Exit code 0 if the same model never said two things: where the same line had learned the same entries of the log, label and probabilities
must be the same. Labels by models that had learned other things by then, or in another order, may differ; they are counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.parsing import record_parser
from schemas.records import DeadLetter, Prediction, Quality
from schemas.settings import Settings
from schemas.topics import FROM_OUTSIDE, Topic
from stack.compare import Answers, Comparison, Log, Refused, Standing, compare, compare_refused
from stack.errors import ConfigurationErrors
from stack.mirror_command import topic_prefix
from stack.running_stack import joined_settings
from stack.times import moment
from store.committed import read_committed
from store.connect import KafkaUnavailable
from store.log_reader import ModelLogReader, ModelUnavailable

_R = TypeVar("_R", Prediction, DeadLetter, Quality)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints: a comparison for each task, and what was refused by one of the two."""

    prefixes: tuple[str, str]
    tasks: list[Comparison]
    refused: Refused


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare", help="compare what this installation and that of another topic prefix say of the same events", description=__doc__
    )
    parser.add_argument("prefix", type=topic_prefix, metavar="PREFIX", help="topic prefix of the other installation, as green-")
    parser.add_argument(
        "--with-prefix", type=topic_prefix, metavar="PREFIX", help="of the first (default: that of the running stack, or MILLRACE_*)"
    )
    parser.add_argument(
        "--since", type=moment, default=0, metavar="TIME", help="only events younger than 30s, 15m, 2h, 7d, or after an ISO 8601 time"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--kafka", metavar="HOST:PORT,…", help="bootstrap servers (default: those of the running stack, or MILLRACE_KAFKA)")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Compare all tasks; 0 if the same model said the same, else 1.

    Raises:
        ConfigurationErrors: if the settings are wrong, or both prefixes are the same.
    """
    settings = joined_settings(args.data_dir)
    first = settings.topic_prefix if args.with_prefix is None else args.with_prefix
    if first == args.prefix:
        raise ConfigurationErrors([f"both prefixes are {first!r}: there is nothing to compare"])
    settings = msgspec.structs.replace(settings, kafka=args.kafka or settings.kafka)
    try:
        result = compared(settings, first, args.prefix, since=args.since)
    except (KafkaUnavailable, ModelUnavailable) as error:
        print(f"millrace compare: {error}", file=sys.stderr)
        return 2
    print(msgspec.json.encode(result).decode() if args.json else in_words(result))
    return 1 if any(one.differing for one in result.tasks) else 0


def compared(settings: Settings, first: str, second: str, *, since: int = 0) -> Result:
    """Return the comparison of the installations with these prefixes, as far as their records are committed now.

    Raises:
        KafkaUnavailable: if the topics cannot be read.
        ModelUnavailable: if a model log cannot be read.
    """
    prefixes = (first, second)
    kafka = settings.kafka
    # The logs are read after the predictions, so that they hold every entry that one names.
    answers = {prefix: _answers(kafka, prefix, since) for prefix in prefixes}
    standings = {prefix: _standings(kafka, prefix) for prefix in prefixes}

    def pair(task: str) -> Comparison:
        logs = [Log(ModelLogReader(kafka, prefix + Topic.MODEL_LOG).entries(task)) for prefix in prefixes]
        said = [answers[prefix].get(task, Answers()) for prefix in prefixes]
        scores = [standings[prefix].get(task, Standing()) for prefix in prefixes]
        return compare(task, (said[0], said[1]), (logs[0], logs[1]), (scores[0], scores[1]))

    return Result(
        prefixes=prefixes,
        tasks=[pair(task) for task in settings.tasks],
        refused=compare_refused(_letters(kafka, first, since), _letters(kafka, second, since)),
    )


def _records(kafka: str, topic: str, parse: Callable[[bytes], _R]) -> Iterator[_R]:
    return (parse(record.value) for batch in read_committed(kafka, topic) for record in batch if record.value is not None)


def _answers(kafka: str, prefix: str, since: int) -> dict[str, Answers]:
    found: dict[str, Answers] = {}
    for prediction in _records(kafka, prefix + Topic.PREDICTIONS, record_parser(Prediction)):
        if prediction.source.time >= since:
            found.setdefault(prediction.task, Answers()).add(prediction)
    return found


def _standings(kafka: str, prefix: str) -> dict[str, Standing]:
    """Return the newest quality of each task."""
    return {
        quality.task: Standing(
            labels=quality.overall.labels,
            accuracy=quality.overall.accuracy if quality.overall.labels else None,
            window_accuracy=quality.window.accuracy if quality.window.labels else None,
        )
        for quality in _records(kafka, prefix + Topic.QUALITY, record_parser(Quality))
    }


def _letters(kafka: str, prefix: str, since: int) -> list[DeadLetter]:
    """Return the dead letters of what the mirror copies; commands are each installation's own."""
    theirs = {prefix + topic for topic in FROM_OUTSIDE if topic is not Topic.MODEL_COMMANDS}
    letters = _records(kafka, prefix + Topic.DEAD_LETTERS, record_parser(DeadLetter))
    return [letter for letter in letters if letter.topic in theirs and letter.time >= since]


def in_words(result: Result) -> str:
    """Return the result as people read it."""
    names = tuple(prefix or "(no prefix)" for prefix in result.prefixes)
    lines = [line for one in result.tasks for line in _task_in_words(one, names)]
    refused = result.refused
    lines.append(
        f"refused: {refused.both} records by both, {refused.only[0]} only by {names[0]}, {refused.only[1]} only by {names[1]} "
        "(millrace dead-letters list)"
    )
    return "\n".join(lines)


def _task_in_words(one: Comparison, names: tuple[str, ...]) -> list[str]:
    verdict = f"{one.differing} DIFFER" if one.differing else "none differs"
    logs = one.logs
    log = f"model log: {logs.entries[0]} and {logs.entries[1]} entries, {logs.changing[0]} and {logs.changing[1]} of them change a model"
    lines = [
        f"task {one.task}: {one.both} events answered by both, {one.only[0]} only by {names[0]}, {one.only[1]} only by {names[1]}",
        f"  same label: {one.same_label}{_share(one.same_label, one.both)}",
        f"  by the same model: {one.same_model}{_share(one.same_model, one.both)}, {one.same_seq} at the same seq: {verdict}",
        f"  {log}; the first {logs.same} of these are the same",
    ]
    if logs.difference:
        lines.append(f"    then {names[0]} has {logs.difference.first}; {names[1]} has {logs.difference.second}")
    lines += [f"  accuracy of {name}: {_accuracy(standing)}" for name, standing in zip(names, one.standing, strict=True)]
    if one.examples:
        lines.append(f"  the same model said two things of: {', '.join(one.examples)}")
    if one.label_examples:
        lines.append(f"  different models, different labels, for instance: {', '.join(one.label_examples)}")
    return lines


def _share(part: int, whole: int) -> str:
    return f" ({part / whole:.2%})" if whole else ""


def _accuracy(standing: Standing) -> str:
    if standing.accuracy is None:
        return "no labels yet"
    newest = "" if standing.window_accuracy is None else f", of the newest {standing.window_accuracy:.2%}"
    return f"{standing.accuracy:.2%} of {standing.labels} labels{newest}"
