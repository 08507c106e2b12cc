"""The command `millrace`. Exit codes: 0 done and healthy, 1 not healthy or not running, 2 what was given is wrong, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from schemas.settings import PREFIX
from stack import (
    audit,
    compare_command,
    data_command,
    dead_letters,
    demo,
    evaluate,
    flink_process,
    import_labels,
    job_command,
    keys_command,
    mirror_command,
    model_files,
    models_command,
    prepare_command,
    refresh_command,
    registry_command,
    replay,
    supervise_command,
)
from stack.embedded import Stack
from stack.errors import NotRunning, StackError
from stack.folders import DataFolder, default_data_dir
from stack.jobs import JOBS
from stack.ports import NAMES
from stack.process import tail_lines
from stack.status_view import print_status, shown

INTERRUPTED = 130
_FOLLOW_S = 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(arguments)
    try:
        return int(args.func(args))
    except StackError as error:
        for line in str(error).splitlines():
            print(f"millrace: {line}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace", description="Classify a stream of text, and learn from its labels as they come in.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start the stack, resuming where it stopped"))
    down = commands.add_parser("down", help="stop the jobs with savepoints, then everything that was started")
    down.add_argument(
        "--no-savepoint", action="store_true", help="do not wait for savepoints: the jobs resume from their newest checkpoints"
    )
    down.set_defaults(func=_down)
    status = commands.add_parser("status", help="show parts and jobs; exit code 0 only if all are healthy")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(func=_status)
    logs = commands.add_parser("logs", help="show the log of a part")
    logs.add_argument("name", nargs="?", help="a part, `supervisor`, `submit` or `answers`; without it, the names are listed")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="how many last lines (default: %(default)s)")
    logs.set_defaults(func=_logs)
    for command in (commands.choices["up"], down, status, logs):
        add_data_dir(command)
    job_command.add_parser(commands)
    demo.add_parser(commands)
    replay.add_parser(commands)
    import_labels.add_parser(commands)
    evaluate.add_parser(commands)
    model_files.add_parser(commands)
    data_command.add_parser(commands)
    refresh_command.add_parser(commands)
    registry_command.add_parser(commands)
    audit.add_parser(commands)
    dead_letters.add_parser(commands)
    models_command.add_parser(commands)
    keys_command.add_parser(commands)
    prepare_command.add_parser(commands)
    supervise_command.add_parser(commands)
    flink_process.add_parser(commands)
    mirror_command.add_parser(commands)
    compare_command.add_parser(commands)
    return parser


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the data folder."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=f"data folder (default: $MILLRACE_DATA_DIR or {default_data_dir()})")


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kafka", default=os.environ.get(f"{PREFIX}KAFKA"), metavar="HOST:PORT,…", help="use a running Kafka")
    parser.add_argument("--redis", default=os.environ.get(f"{PREFIX}REDIS"), metavar="URL", help="use a running Redis")
    parser.add_argument(
        "--flink", default=os.environ.get(f"{PREFIX}FLINK"), metavar="HOST:PORT", help="use a running Flink (its REST port)"
    )
    parser.add_argument(
        "--java", nargs="?", const="JAVA_HOME", metavar="HOME", help="use an installed Java 17: the one in HOME, or in $JAVA_HOME"
    )
    parser.add_argument("--only", type=_names, default=JOBS, metavar="JOB,…", help=f"run some of the jobs {', '.join(JOBS)}")
    for name in NAMES:
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=_port, dest=f"port_{name}", metavar="PORT", help="0: any free one")
    parser.set_defaults(func=_up)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


def _up(args: argparse.Namespace) -> int:
    ports = {name: port for name in NAMES if (port := getattr(args, f"port_{name}")) is not None}
    stack = Stack(
        args.data_dir, ports=ports, java=args.java, kafka=args.kafka, redis=args.redis, flink=args.flink, jobs=args.only, attached=False
    )
    stack.start(lambda line: print(line, flush=True))
    state = stack.state()
    print_status(state)
    return 0 if state.healthy() else 1


def _down(args: argparse.Namespace) -> int:
    stack = Stack(args.data_dir)
    stack.state()
    stack.stop(lambda line: print(line, flush=True), savepoint=not args.no_savepoint)
    return 0


def _status(args: argparse.Namespace) -> int:
    state = Stack(args.data_dir).state()
    if args.json:
        print(msgspec.json.format(msgspec.json.encode(shown(state)), indent=1).decode())
    else:
        print_status(state)
    return 0 if state.healthy() else 1


def _logs(args: argparse.Namespace) -> int:
    folder = DataFolder(args.data_dir or default_data_dir())
    names = sorted({path.stem for path in folder.logs.glob("*.log")})
    if args.name not in names:
        known = ", ".join(names) or "none yet"
        if args.name:
            raise NotRunning(f"There is no log {args.name!r} in {folder.logs}. There are: {known}.")
        print(known)
        return 0
    path = folder.log(args.name)
    lines = tail_lines(path, 400 * args.lines)[-args.lines :]
    if not lines:
        lines = tail_lines(path.with_suffix(".out"), 400 * args.lines)[-args.lines :]
    print("\n".join(lines))
    if args.follow:
        _follow(path)
    return 0


def _follow(path: Path) -> None:
    position = path.stat().st_size
    while True:
        time.sleep(_FOLLOW_S)
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position = 0
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                data = file.read()
            position += len(data)
            print(data.decode(errors="replace"), end="", flush=True)
