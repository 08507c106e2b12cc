"""`millrace job`: submit, stop and list the jobs of a running stack."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stack.embedded import Stack
from stack.errors import StackError
from stack.jobs import JOBS, History, is_complete, local_path
from stack.mailbox import JobRequest, ask
from stack.status_view import print_status

_SUBMIT_TIMEOUT_S = 10.0
_MARGIN_S = 30.0


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("job", help="submit, stop or list the jobs of a running stack")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    submit = actions.add_parser("submit", help="start a job that is stopped or refused")
    submit.add_argument("job", choices=JOBS)
    start = submit.add_mutually_exclusive_group()
    start.add_argument("--from", dest="start_from", type=Path, metavar="PATH", help="the checkpoint or savepoint to start from")
    start.add_argument(
        "--empty",
        action="store_true",
        help="start with no state: reads its topics from their beginning, and writes what is not committed yet",
    )
    submit.set_defaults(func=_submit)
    stop = actions.add_parser("stop", help="stop a job with a savepoint")
    stop.add_argument("job", choices=JOBS)
    stop.set_defaults(func=_stop)
    listing = actions.add_parser("list", help="show the jobs and what they were started from")
    listing.set_defaults(func=_list)
    for action in (submit, stop, listing):
        action.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder of the stack")


def _submit(args: argparse.Namespace) -> int:
    stack = Stack(args.data_dir)
    stack.state()
    if args.start_from is not None and not is_complete(local_path(str(args.start_from))):
        raise StackError(f"{args.start_from} is no complete checkpoint or savepoint: it has no file _metadata.")
    start_from = str(local_path(str(args.start_from)).absolute()) if args.start_from is not None else None
    request = JobRequest(do="submit", job=args.job, start_from=start_from, empty=args.empty)
    answer = ask(stack.folder.requests, request, timeout_s=_SUBMIT_TIMEOUT_S)
    print(answer.message)
    return 0 if answer.ok else 1


def _stop(args: argparse.Namespace) -> int:
    stack = Stack(args.data_dir)
    timeout = stack.settings.shutdown_timeout_s + _MARGIN_S
    answer = ask(stack.folder.requests, JobRequest(do="stop", job=args.job), timeout_s=timeout)
    print(answer.message)
    return 0 if answer.ok else 1


def _list(args: argparse.Namespace) -> int:
    stack = Stack(args.data_dir)
    state = stack.running()
    if state is not None:
        print_status(state)
    history = History(stack.folder.jobs)
    for job in JOBS:
        for submission in history.of(job)[-3:]:
            ended = f", stopped with {submission.savepoint}" if submission.savepoint else ""
            print(f"{job} {submission.id}: started from {submission.started_from or 'nothing'}{ended}")
    return 0
