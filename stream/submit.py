"""Submits jobs to a Flink cluster: `python -m stream.submit --job classify --rest HOST:PORT --checkpoints URI [--from PATH]`.

Settings come from the environment (MILLRACE_*). The last line on standard output is `{"job": …, "id": …}`.

With `--serve` in place of `--job` it reads orders as lines on standard input, `{"job": …, "checkpoints": …, "from": … or null}`, and
answers each with such a line, or `{"job": …, "error": …}`: what it takes to load Flink's planner is paid once for all jobs.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable

import msgspec

from online_model.models import build as build_model
from online_model.specification import SpecificationError
from schemas.settings import Settings, SettingsError, read_settings
from store.rewind import Rewind
from stream.environment import Job, Placement
from stream.jobs import build

_UNREADABLE = (
    "Failed to rollback to checkpoint/savepoint",
    "Could not load checkpoint",
    "CheckpointException",
    "Checkpoints.loadCheckpoint",
)
"""What Flink's JobManager says of a state that it cannot read."""


class Order(msgspec.Struct, frozen=True):
    """What to submit, from which checkpoint or savepoint (None: empty), and, if that is an old one, since and until when (epoch ms)."""

    job: Job
    checkpoints: str
    restore_from: str | None = msgspec.field(default=None, name="from")
    rewind: tuple[int, int] | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The id under which a job was submitted, or why it was not."""

    job: Job
    id: str | None = None
    error: str | None = None
    state_unreadable: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Submit one job and print its id, or serve orders until there are no more."""
    parser = argparse.ArgumentParser(prog="python -m stream.submit", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Job, choices=list(Job))
    what.add_argument("--serve", action="store_true", help="read orders from standard input")
    parser.add_argument("--rest", required=True, help="host:port of the cluster's REST endpoint")
    parser.add_argument("--checkpoints", default=os.environ.get("MILLRACE_CHECKPOINTS"), help="URI or folder of the job's checkpoints")
    parser.add_argument("--from", dest="restore_from", help="checkpoint or savepoint to start from")
    options = parser.parse_args(arguments)
    if not options.serve and not options.checkpoints:
        parser.error("--checkpoints (or MILLRACE_CHECKPOINTS) is needed: the folder for the job's checkpoints")
    try:
        settings = read_settings(os.environ)
        build_model(settings.model)
    except (SettingsError, SpecificationError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.serve:
        _serve(sys.stdin, settings, options.rest)
    else:
        _say(_submit(Order(options.job, options.checkpoints, options.restore_from), settings, options.rest))
    return 0


def _submit(order: Order, settings: Settings, rest: str) -> Answer:
    rewind = Rewind(since=order.rewind[0], until=order.rewind[1]) if order.rewind else None
    placement = Placement(checkpoints=_uri(order.checkpoints), rest=rest, restore_from=order.restore_from, rewind=rewind)
    client = build(order.job, settings, placement).streams.execute_async(order.job.value)
    return Answer(order.job, id=str(client.get_job_id()))


def _serve(lines: Iterable[str], settings: Settings, rest: str) -> None:
    # The first plan takes many times as long as the next. It is made, for nothing, while the cluster still starts.
    build(Job.CLASSIFY, settings, Placement(checkpoints="file:///unused", rest=rest))
    for line in lines:
        order = msgspec.json.decode(line, type=Order)
        try:
            _say(_submit(order, settings, rest))
        except Exception as error:  # noqa: BLE001 - whatever Java throws: this order failed, the next may not
            traceback.print_exc()
            _say(Answer(order.job, error=_cause(error), state_unreadable=any(said in str(error) for said in _UNREADABLE)))


def _cause(error: Exception) -> str:
    """Return the line of an error that says most: the innermost cause of a Java error, else the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes or lines or [repr(error)])[-1]


def _say(answer: Answer) -> None:
    print(msgspec.json.encode(answer).decode(), flush=True)


def _uri(folder: str) -> str:
    """Return a folder as a URI; Flink wants a scheme.

    >>> _uri("/a/b"), _uri("s3://bucket/a")
    ('file:///a/b', 's3://bucket/a')
    """
    return f"file://{folder}" if folder.startswith("/") else folder


if __name__ == "__main__":
    sys.exit(main())
