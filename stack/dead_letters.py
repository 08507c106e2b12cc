"""`millrace dead-letters`: what was refused and why; and, when the cause has been mended, how to send it again."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from schemas.parsing import encode
from schemas.records import DeadLetter, Reason
from schemas.settings import Settings, SettingsError, read_settings
from schemas.topics import FROM_OUTSIDE
from stack.dead_letter_list import Choice, Place, as_line, as_page, parse_place, place_of, read_letters, reason_counts
from stack.dead_letter_replay import Outcome, Replayer
from stack.errors import StackError
from stack.running_stack import settings_of
from stack.times import moment
from store.connect import KafkaUnavailable

SHOWN = 100


class WrongChoice(StackError):
    """What was given names no dead letters."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("dead-letters", help="list, show or replay the records that were refused", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="list | show | replay")
    _add_list(commands.add_parser("list", help="list them, newest last, and how many there are of each reason"))
    show = commands.add_parser("show", help="show all of some of them, broken bytes made visible")
    show.add_argument("places", nargs="+", type=_place, metavar="PLACE", help="TOPIC:PARTITION:OFFSET, as in the list")
    show.add_argument("--json", action="store_true", help="as JSON, one line each")
    show.set_defaults(func=_reporting(_show))
    _add_replay(commands.add_parser("replay", help="send them again, byte for byte, once the cause has been mended"))
    for command in commands.choices.values():
        command.add_argument(
            "--kafka", metavar="HOST:PORT,…", help="bootstrap servers (default: those of the running stack, or MILLRACE_KAFKA)"
        )
        command.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack")


def _add_list(parser: argparse.ArgumentParser) -> None:
    _add_filters(parser)
    parser.add_argument("--limit", type=_count, default=SHOWN, metavar="N", help="show the newest N, 0: all (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(func=_reporting(_list))


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", metavar="TOPIC", help="only those of events, feedback or model-commands")
    parser.add_argument("--reason", choices=[reason.value for reason in Reason], metavar="REASON", help=f"one of {', '.join(Reason)}")
    parser.add_argument("--since", type=moment, default=0, metavar="TIME", help="younger than 30s, 15m, 2h, 7d, or after an ISO 8601 time")


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("places", nargs="*", type=_place, metavar="PLACE", help="TOPIC:PARTITION:OFFSET, as in the list")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="all there are (with --topic, --since: all of these)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    parser.add_argument("--again", action="store_true", help="also those that were replayed before")
    parser.add_argument("--unchecked", action="store_true", help="also those that would be refused again with the settings in force")
    parser.set_defaults(func=_reporting(_replay))


def _place(text: str) -> Place:
    try:
        return parse_place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of records")
    return int(text)


def _reporting(command: Callable[[argparse.Namespace, Settings], int]) -> Callable[[argparse.Namespace], int]:
    """Return the command with its settings; what the user must act on becomes a message."""

    def run(args: argparse.Namespace) -> int:
        try:
            settings = settings_of(args.data_dir) or read_settings(os.environ)
            return command(args, msgspec.structs.replace(settings, kafka=args.kafka) if args.kafka else settings)
        except (KafkaUnavailable, SettingsError) as error:
            print(f"millrace dead-letters: {error}", file=sys.stderr)
            return 2

    return run


def _choice(args: argparse.Namespace, settings: Settings) -> Choice:
    """Return the choice in the arguments; a topic may be given with or without the prefix."""
    own = [settings.topic_prefix + topic for topic in FROM_OUTSIDE]
    topic = settings.topic_prefix + args.topic if args.topic in FROM_OUTSIDE else args.topic
    if topic not in (None, *own):
        raise WrongChoice(f"--topic {args.topic}: records are refused in {', '.join(own)} only")
    return Choice(topic, args.reason, args.since)


def _list(args: argparse.Namespace, settings: Settings) -> int:
    letters = read_letters(settings, _choice(args, settings))
    shown = letters[-args.limit :] if args.limit else letters
    counts = reason_counts(letters)
    if args.json:
        print(msgspec.json.encode({"dead_letters": shown, "reasons": counts, "total": len(letters)}).decode())
        return 0
    for letter in shown:
        print(as_line(letter))
    if len(shown) < len(letters):
        print(f"… the newest {len(shown)} of {len(letters)} (--limit 0 shows all)")
    print(", ".join(f"{reason} {count}" for reason, count in counts.items()) or "no dead letters")
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    for letter in _named(args.places, settings):
        print(encode(letter).decode() if args.json else as_page(letter) + "\n")
    return 0


def _named(places: list[Place], settings: Settings) -> list[DeadLetter]:
    """Return the letters of these places, each once, in their order.

    Raises:
        WrongChoice: naming the places that have none.
    """
    found = {place_of(letter): letter for letter in read_letters(settings, Choice(places=frozenset(places)))}
    if missing := [str(place) for place in places if place not in found]:
        raise WrongChoice(f"there is no dead letter of {', '.join(missing)}: `millrace dead-letters list` shows those there are")
    return [found[place] for place in dict.fromkeys(places)]


def _replay(args: argparse.Namespace, settings: Settings) -> int:
    if sum(map(bool, (args.places, args.all, args.reason))) != 1:
        raise WrongChoice("say what to replay: places, or --reason REASON, or --all")
    if args.places and (args.topic or args.since):
        raise WrongChoice("--topic and --since choose among --all or --reason, not among places")
    letters = _named(args.places, settings) if args.places else read_letters(settings, _choice(args, settings))
    replayer = Replayer(settings, again=args.again, unchecked=args.unchecked, dry_run=args.dry_run)
    outcomes = []
    for outcome in replayer.replay(letters):
        outcomes.append(outcome)
        print(_told(outcome, dry_run=args.dry_run), flush=True)
    # Who asks for all takes what was replayed before for done; who names a place is told that it is not sent.
    known = sum(outcome.is_known for outcome in outcomes)
    problems = sum(bool(outcome.problem) for outcome in outcomes) - known
    sent = len(outcomes) - problems - known
    print(f"{sent} {'to replay' if args.dry_run else 'replayed'}, {known} replayed before, {problems} cannot be replayed")
    return 1 if problems or (known and args.places) else 0


def _told(outcome: Outcome, *, dry_run: bool) -> str:
    place = place_of(outcome.letter)
    if outcome.problem:
        return f"{place}: not sent: {outcome.problem}"
    note = f" ({outcome.note})" if outcome.note else ""
    what = f"{outcome.letter.length} bytes" if dry_run else f"sent as {outcome.sent_to}"
    return f"{place}: {what}{note}"
