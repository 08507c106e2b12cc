"""`millrace refresh`: starts the refresh, a program of its own, since only that one imports torch."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from batch_model.flags import add_refresh_flags, arguments_of
from schemas.settings import as_environment
from stack.errors import StackError
from stack.running_stack import settings_of
from store.programs import dying_with_parent

_NEEDED = ("torch", "optuna", "mlflow")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "refresh",
        help="retrain a task's model in batch, and release it if it is better",
        description="Retrain a task's model from the log, or from a file (--train), and release it if it is better. See docs/refresh.md.",
    )
    add_refresh_flags(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the running stack")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; its exit code is that of the program."""
    settings = None if args.train is not None else settings_of(args.data_dir)
    return run_program("refresh", arguments_of(args), as_environment(settings) if settings else {})


def missing_packages(needed: Iterable[str] = _NEEDED) -> list[str]:
    """Return what the refresh imports and is not installed."""
    return [name for name in needed if importlib.util.find_spec(name) is None]


def run_program(command: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command of the batch program, hand signals on to it, and return its exit code.

    Args:
        command: of `python -m batch_model`.
        arguments: for it.
        environment: variables over ours: the settings of the stack that runs.

    Raises:
        StackError: if torch and what goes with it are not installed.
    """
    if missing := missing_packages():
        raise StackError(f"{', '.join(missing)} not installed: run `make setup-refresh` once (5 GB)")
    print("loading torch: some seconds", file=sys.stderr, flush=True)
    packages = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        dying_with_parent([sys.executable, "-m", "batch_model", command, *arguments], signal.SIGTERM),
        env={**os.environ, **environment, "PYTHONPATH": paths},
    )
    return _exit_code(process)


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of the program; SIGTERM goes on to it, Ctrl-C reaches it by itself, as one of the terminal's group."""

    def hand_on(number: int, _frame: object) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, handler) for number, handler in ((signal.SIGTERM, hand_on), (signal.SIGINT, lambda *_: None))}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code
