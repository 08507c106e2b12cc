"""`millrace supervise`: keeps the jobs of a Flink cluster running, in the foreground, and stops them with savepoints when it is stopped.

For containers and service managers: Kafka, Redis, Flink, API and refresh worker are somebody else's, and may come and go. The cluster
must run no other jobs of the same names. `millrace status` and `millrace job` on the same data folder work as ever.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import msgspec

from schemas.settings import PREFIX
from stack.embedded import Stack
from stack.errors import ConfigurationErrors
from stack.folders import write_atomically
from stack.jobs import JOBS
from stack.plan import Wish, make_plan
from stack.supervisor import supervise

_NEEDED = ("kafka", "redis", "flink")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("supervise", help="keep the jobs of a Flink cluster running, in the foreground", description=__doc__)
    for name, what in (("kafka", "HOST:PORT,…"), ("redis", "URL"), ("flink", "HOST:PORT")):
        variable = PREFIX + name.upper()
        parser.add_argument(f"--{name}", default=os.environ.get(variable), metavar=what, help=f"default: ${variable}")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where states of jobs and the supervisor's own lie")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Supervise until a signal comes.

    Raises:
        ConfigurationErrors: naming all that is wrong.
        AlreadyRunning: if a supervisor runs on the data folder.
    """
    wish = Wish(data_dir=args.data_dir, kafka=args.kafka, redis=args.redis, flink=args.flink, jobs=JOBS, jobs_only=True)
    missing = [
        f"--{name} (or {PREFIX}{name.upper()}) is needed: what shall the jobs run on?" for name in _NEEDED if not getattr(args, name)
    ]
    if missing:
        raise ConfigurationErrors(missing)
    Stack(args.data_dir).refuse_if_running()
    plan = make_plan(wish)
    write_atomically(wish.folder.plan, msgspec.json.format(msgspec.json.encode(plan), indent=1), private=True)
    return supervise(wish.folder)
