"""`millrace mirror`: copies events and feedback to topics of another prefix on the same Kafka, for a second set of jobs beside this one.

From the beginning, exactly once, with partition, key, value, headers and time; started again, it goes on where it stopped. The jobs of the
other prefix make its topics, and nobody else may write to these two.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from schemas.settings import PREFIX, Settings
from stack.errors import ConfigurationErrors
from stack.mirror import Mirror
from stack.replay import stopped_by_signals
from stack.running_stack import joined_settings

GRACE_S = 10.0
"""A signal ends it after the transaction in hand; an open one that Kafka does not end in this time is ended by the next mirror."""
_LOOK_S = 0.5


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("mirror", help="copy events and feedback to another topic prefix, exactly once", description=__doc__)
    parser.add_argument("--to-prefix", required=True, type=topic_prefix, metavar="PREFIX", help="before the names of the copies, as green-")
    parser.add_argument(
        "--from-prefix", type=topic_prefix, metavar="PREFIX", help="of what is copied (default: that of the running stack, or MILLRACE_*)"
    )
    parser.add_argument("--until-end", action="store_true", help="copy what is there now, and end")
    parser.add_argument("--alive", type=Path, metavar="FILE", help="touch this file while all is well, for a health check")
    parser.add_argument("--kafka", metavar="HOST:PORT,…", help="bootstrap servers (default: those of the running stack, or MILLRACE_KAFKA)")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack")
    parser.set_defaults(func=run)


def topic_prefix(text: str) -> str:
    """Return a valid prefix of topics."""
    try:
        return msgspec.convert({"topic_prefix": text}, Settings).topic_prefix
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no prefix of topics: at most 64 letters, digits, dots, - and _") from error


def run(args: argparse.Namespace) -> int:
    """Copy until a signal comes; 0, with `--until-end` only if the end was reached.

    Raises:
        ConfigurationErrors: if source and target are the same, or the settings are wrong.
        MirrorError: if the topics cannot be copied as they are.
    """
    settings = joined_settings(args.data_dir)
    source = settings.topic_prefix if args.from_prefix is None else args.from_prefix
    if source == args.to_prefix:
        raise ConfigurationErrors([f"--to-prefix {source!r} is what is copied (--from-prefix, or {PREFIX}TOPIC_PREFIX): name another"])
    alive = args.alive.touch if args.alive else lambda: None
    mirror = Mirror(args.kafka or settings.kafka, source, args.to_prefix, say=_say, alive=alive)
    reached = _in_background(mirror, until_end=args.until_end)
    _say(f"{mirror.summary()}: {'all there was' if reached else 'stopped, and goes on from here when it is started again'}")
    return 0 if reached or not args.until_end else 1


def _say(line: str) -> None:
    print(line, flush=True)


def _in_background(mirror: Mirror, *, until_end: bool) -> bool:
    """Run the mirror in a thread: Kafka's client may wait for a broker that is away, and a signal shall end that as well."""
    outcome: list[bool | BaseException] = []

    def work() -> None:
        try:
            outcome.append(mirror.run(until_end=until_end))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    with stopped_by_signals(mirror.stop):
        thread.start()
        while thread.is_alive() and not mirror.stop.is_set():
            thread.join(_LOOK_S)
        thread.join(GRACE_S)
    if not outcome:
        print("millrace mirror: Kafka did not end the last transaction in time; the next start does", file=sys.stderr)
        return False
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
