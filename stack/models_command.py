"""`millrace models`: which lines there are, which served when, and what is asked of the learner."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from api.model_views import change_view
from schemas.log import LineName, RefusalEntry, Share
from schemas.records import DEFAULT_TASK
from schemas.settings import Settings, SettingsError, as_environment, read_settings
from stack.errors import StackError
from stack.model_api import ModelApi, NoApi, NoLine
from stack.model_lines import ModelLines
from stack.model_tables import at_text, change_line, line_page, lines_table
from stack.refresh_command import run_program
from stack.replay import task_name
from stack.running_stack import running_state, settings_of
from stack.times import moment
from store.asking import Do, UnknownLine, command_of
from store.connect import KafkaUnavailable
from store.standing import Standing

ANSWER_S = 120.0
V = TypeVar("V", bound=msgspec.Struct)
_WHAT: dict[Do, str] = {
    "promote": "let a line serve; the one that serves until then is watched as the former one",
    "shadow": "watch a line: it predicts and learns beside the one that serves, and is promoted or dropped by itself",
    "split": "let a line serve a share of the events",
    "drop": "end the watch of a line",
    "rollback": "let the line that served before, or LINE, serve again; the one that serves is held no more",
}


class ModelsError(StackError):
    """What was asked for is not there."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("models", help="show the lines of a model, promote them, take them back", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="list | show | at | promote | shadow | split | drop | rollback | data")
    commands.add_parser("list", help="list the lines: which serves, which are watched and how they compare").set_defaults(run=_list)
    show = commands.add_parser("show", help="show all of a line: what it was made of, what the gate said, and its history")
    show.set_defaults(run=_show)
    at = commands.add_parser("at", help="say which line was live at a time")
    at.add_argument("time", type=moment, metavar="TIME", help="ISO 8601 (UTC without a zone), epoch ms, or an age: 30s, 15m, 2h, 7d")
    at.set_defaults(run=_at)
    for do in get_args(Do):
        _add_command(commands.add_parser(do, help=_WHAT[do]), do)
    data = commands.add_parser("data", help="bring together again the labels that a line was trained on")
    data.add_argument("--output", "--out", dest="out", type=Path, metavar="FILE", help="write them as JSON Lines")
    data.set_defaults(run=_data)
    for command in (show, data):
        command.add_argument("line", type=_line, metavar="LINE")
    for command in commands.choices.values():
        command.add_argument("--task", type=task_name, metavar="NAME", help="task (default: `default`, or the first that is configured)")
        command.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack")
        if command is not data:
            command.add_argument("--json", action="store_true", help="as JSON")
        command.set_defaults(func=_with_settings)


def _add_command(parser: argparse.ArgumentParser, do: Do) -> None:
    parser.add_argument("line", type=_line, metavar="LINE", nargs="?" if do == "rollback" else None)
    if do == "split":
        parser.add_argument("--share", type=_share, required=True, metavar="S", help="share of the events, 0.001 to 0.999")
    parser.add_argument("--why", default="", metavar="TEXT", help="the reason, for the log")
    parser.add_argument("--by", default=None, metavar="NAME", help="who asks, for the log (default: the login name)")
    parser.add_argument(
        "--timeout", type=float, default=ANSWER_S, metavar="S", help="wait so long for the learner's answer (default: %(default)g)"
    )
    parser.set_defaults(run=_ask, do=do)


def _line(text: str) -> str:
    try:
        return msgspec.convert(text, LineName)
    except msgspec.ValidationError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a line: lower-case letters, digits and -") from error


def _share(text: str) -> float:
    try:
        return msgspec.convert(float(text), Share)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0.001 to 0.999") from error


def _with_settings(args: argparse.Namespace) -> int:
    try:
        settings = settings_of(args.data_dir) or read_settings(os.environ)
        run: Callable[[argparse.Namespace, Settings, str], int] = args.run
        return run(args, settings, _task(args.task, settings))
    except (KafkaUnavailable, SettingsError) as error:
        print(f"millrace models: {error}", file=sys.stderr)
        return 2


def _task(given: str | None, settings: Settings) -> str:
    if given is None:
        return DEFAULT_TASK if DEFAULT_TASK in settings.tasks else settings.tasks[0]
    if given not in settings.tasks:
        raise ModelsError(f"There is no task {given!r}: configured are {', '.join(settings.tasks)}.")
    return given


def _list(args: argparse.Namespace, settings: Settings, task: str) -> int:
    view = _told(args, settings, task, lambda source: source.view())
    _print(args, view, lines_table(view))
    return 0


def _show(args: argparse.Namespace, settings: Settings, task: str) -> int:
    try:
        detail = _told(args, settings, task, lambda source: source.detail(args.line))
    except NoLine as error:
        raise _unknown(task, args.line) from error
    _print(args, detail, line_page(detail))
    return 0


def _at(args: argparse.Namespace, settings: Settings, task: str) -> int:
    view = _told(args, settings, task, lambda source: source.at(args.time))
    _print(args, view, at_text(view))
    return 0


def _told(args: argparse.Namespace, settings: Settings, task: str, ask: Callable[[ModelApi | ModelLines], V]) -> V:
    """Return what the API of the running stack tells; where there is none, or it is not ready, what the log tells."""
    state = running_state(args.data_dir)
    if state is not None:
        try:
            return ask(ModelApi(state.addresses.api, task))
        except NoApi:
            pass  # the log says the same, and takes longer if it is long
    with closing(ModelLines(settings, task)) as lines:
        return ask(lines)


def _ask(args: argparse.Namespace, settings: Settings, task: str) -> int:
    with closing(ModelLines(settings, task)) as lines:
        manifest = lines.manifest(args.line) if args.line else None
        try:
            command = command_of(
                args.do, args.line, Standing.after(lines.read().changes), manifest, task=task, command_id=f"cli-{uuid.uuid4().hex}",
                by=args.by or login_name(), why=args.why, share=getattr(args, "share", None),
            )  # fmt: skip
        except UnknownLine as error:
            raise _unknown(task, args.line) from error
        answer = lines.ask(command, args.timeout)
    view = change_view(answer)
    _print(args, view, change_line(view))
    return 1 if isinstance(answer, RefusalEntry) else 0


def _data(args: argparse.Namespace, settings: Settings, task: str) -> int:
    output = ["--output", str(args.out)] if args.out else []
    return run_program("data", ["--task", task, "--line", args.line, *output], as_environment(settings))


def login_name() -> str:
    """Return who has logged in, or the number of a user who has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _unknown(task: str, line: str) -> ModelsError:
    return ModelsError(f"Task {task} has no line {line!r}: `millrace models list --task {task}` shows those there are.")


def _print(args: argparse.Namespace, view: msgspec.Struct, text: str) -> None:
    print(msgspec.json.encode(view).decode() if args.json else text)
