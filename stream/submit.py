"""Submits a job to a Flink cluster: `python -m stream.submit --job classify --rest HOST:PORT --checkpoints URI [--from PATH]`.

Settings come from the environment (MILLRACE_*). The last line on standard output is `{"job": …, "id": …}`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from schemas.settings import SettingsError, read_settings
from stream.environment import Job, Placement
from stream.jobs import build


def main(arguments: list[str] | None = None) -> int:
    """Submit one job and print its id."""
    parser = argparse.ArgumentParser(prog="python -m stream.submit", description=__doc__)
    parser.add_argument("--job", type=Job, choices=list(Job), required=True)
    parser.add_argument("--rest", required=True, help="host:port of the cluster's REST endpoint")
    parser.add_argument("--checkpoints", default=os.environ.get("MILLRACE_CHECKPOINTS"), help="URI or folder of the job's checkpoints")
    parser.add_argument("--from", dest="restore_from", help="checkpoint or savepoint to start from")
    options = parser.parse_args(arguments)
    if not options.checkpoints:
        parser.error("--checkpoints (or MILLRACE_CHECKPOINTS) is needed: the folder for the job's checkpoints")
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    placement = Placement(checkpoints=_uri(options.checkpoints), rest=options.rest, restore_from=options.restore_from)
    environment = build(options.job, settings, placement)
    client = environment.streams.execute_async(options.job.value)
    print(json.dumps({"job": options.job.value, "id": str(client.get_job_id())}), flush=True)
    return 0


def _uri(folder: str) -> str:
    """Return a folder as a URI; Flink wants a scheme.

    >>> _uri("/a/b"), _uri("s3://bucket/a")
    ('file:///a/b', 's3://bucket/a')
    """
    return f"file://{folder}" if folder.startswith("/") else folder


if __name__ == "__main__":
    sys.exit(main())
