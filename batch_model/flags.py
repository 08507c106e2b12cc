"""The flags of a refresh: said once, read by the command line, which knows no torch, and by the program that it starts."""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path

from schemas.records import DEFAULT_TASK

STAGES = ("log", "champion", "training", "fold", "gate", "release", "command", "answer", "report")
SHUFFLE = "shuffle-labels"
WAIT_AT = "wait-at="
_MOST_WHO = 256

OF_SETTINGS = ("mode", "share", "cases", "window_labels", "window_s", "device", "seed", "search_seconds", "variant")
"""Flags that go before a setting MILLRACE_REFRESH_… of the same name."""


def add_refresh_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--task", metavar="NAME", help=f"task (default: the only one, or {DEFAULT_TASK})")
    parser.add_argument("--dry-run", action="store_true", help="do all but the release")
    parser.add_argument("--force", action="store_true", help="release although the gate says no")
    parser.add_argument("--by", type=_who, default=user(), metavar="WHO", help="who asks for it (default: %(default)s)")
    parser.add_argument("--why", metavar="TEXT", help="for what reason")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--drill", type=_drill, metavar="WHAT", help=f"something that goes wrong on purpose: {SHUFFLE}, or {WAIT_AT}STAGE")
    of_settings = parser.add_argument_group("instead of the setting MILLRACE_REFRESH_… of the same name")
    of_settings.add_argument("--mode", choices=("serve", "shadow", "split"), help="what a release is brought in for")
    of_settings.add_argument("--share", metavar="SHARE", help="of the events, in mode split")
    of_settings.add_argument("--cases", metavar="FILE", help="behavioural cases")
    of_settings.add_argument("--window-labels", metavar="N", help="train on so many of the newest labels")
    of_settings.add_argument("--window-s", metavar="SECONDS", help="train on labels so much younger than the newest")
    of_settings.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where it is trained")
    of_settings.add_argument("--seed", metavar="N", help="of everything random")
    of_settings.add_argument("--search-seconds", metavar="N", help="how long hyper-parameters are searched for")
    of_settings.add_argument("--variant", choices=("full", "float16", "int8"), help="how the table is stored")
    offline = parser.add_argument_group("offline, without a stack")
    offline.add_argument("--train", type=Path, metavar="FILE", help="train on the rows of this file (split train)")
    offline.add_argument("--report", type=Path, metavar="FILE", help="write the figures there, on the split test, as JSON")
    offline.add_argument("--model-out", type=Path, metavar="ARTIFACT", help="write the model there")


def arguments_of(args: argparse.Namespace) -> list[str]:
    """Return the command line that gives these flags again.

    >>> parser = argparse.ArgumentParser()
    >>> add_refresh_flags(parser)
    >>> arguments_of(parser.parse_args(["--by", "me", "--force", "--why=-x", "--window-s", "5"]))
    ['--force', '--by=me', '--why=-x', '--window-s=5']
    """
    parser = argparse.ArgumentParser(add_help=False)
    add_refresh_flags(parser)
    found = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of its flags
        value = getattr(args, action.dest)
        if value is True:
            found.append(action.option_strings[0])
        elif value not in {None, False}:
            found.append(f"{action.option_strings[0]}={value}")
    return found


def user() -> str:
    """Return who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return f"uid {os.getuid()}"


def _who(text: str) -> str:
    if not 1 <= len(text) <= _MOST_WHO:
        raise argparse.ArgumentTypeError(f"a name of 1 to {_MOST_WHO} characters is needed")
    return text


def _drill(text: str) -> str:
    if text != SHUFFLE and not (text.startswith(WAIT_AT) and text.removeprefix(WAIT_AT) in STAGES):
        raise argparse.ArgumentTypeError(f"{text!r}: there are {SHUFFLE} and {WAIT_AT}STAGE, of {', '.join(STAGES)}")
    return text
