"""`millrace registry`: MLflow's pages on what refreshes have written, and its aliases moved to what serves."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from schemas.settings import PREFIX, as_environment, read_settings
from stack.folders import DataFolder, default_data_dir
from stack.refresh_command import run_program
from stack.running_stack import running_state

DEFAULT_PORT = 5000


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("registry", help="look at what refreshes have written, in MLflow's pages", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    pages = actions.add_parser("pages", help="serve MLflow's pages on the loopback, until Ctrl-C")
    pages.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
    pages.set_defaults(func=lambda args: run(args, ["pages", "--port", str(args.port)]))
    sync = actions.add_parser("sync", help="move the aliases champion and challenger to what the model log says")
    sync.set_defaults(func=lambda args: run(args, ["sync"]))
    for action in (pages, sync):
        action.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the stack, which need not run for `pages`")


def run(args: argparse.Namespace, arguments: list[str]) -> int:
    """Run the program and return its exit code."""
    return run_program("registry", arguments, environment_of(args.data_dir))


def environment_of(data_dir: Path | None) -> dict[str, str]:
    """Return the settings of the stack that runs, or where one that does not run would have its artifacts, if nothing else says it."""
    state = running_state(data_dir)
    if state is not None:
        return as_environment(read_settings(state.settings))
    name = f"{PREFIX}ARTIFACTS"
    return {} if name in os.environ and data_dir is None else {name: str(DataFolder(data_dir or default_data_dir()).artifacts)}
