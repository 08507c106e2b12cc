"""Whether all that a job has read is answered: `python -m stack.answers --job classify --since MS` prints how many records are not.

Flink's sink cannot tell a transaction that was committed before a crash, and is committed again after it, from one that the broker
has aborted: it counts both as failed. The topics can. Settings come from the environment (MILLRACE_*).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import msgspec
from kafka import KafkaConsumer, TopicPartition

from schemas.settings import Settings, read_settings
from schemas.topics import Topic
from store.committed import offsets_at, read_committed
from store.kafka_login import client_options
from store.programs import dying_with_parent
from store.rewind import Place, Rewind, classified, decided

PATIENCE_S = 60.0
_COMMIT_S = 3.0
"""A checkpoint's transactions are committed after its offsets, or before; so long after them everything is."""

_TIMEOUT_MS = 15_000


class Found(msgspec.Struct, frozen=True):
    """How many records were looked at, and the places of those that have no answer."""

    job: str
    records: int
    unanswered: list[Place]


def unanswered(settings: Settings, job: str, since: int) -> Found:
    """Return the records since a time (epoch ms) that the job says it has read, and that have no committed output.

    Raises:
        KafkaUnavailable: if the topics cannot be read.
    """
    outputs: Mapping[str, tuple[Topic, Callable[[Settings, Rewind], Collection[Place]]]] = {
        "classify": (Topic.EVENTS, lambda s, r: classified(s, r, settled=False)),
        "learn": (Topic.FEEDBACK, lambda s, r: decided(s, r, settled=False)),
    }
    topic, read_outputs = outputs[job]
    end = _committed_offsets(settings, job, topic)
    time.sleep(_COMMIT_S)
    answered = read_outputs(settings, Rewind(since=since, until=int(time.time() * 1000)))
    start = offsets_at(settings.kafka, settings.topic_prefix + topic, since)
    if job == "classify":
        # It reads each partition in order: in a backlog, what it answered in that time had come long before.
        for partition, offset in answered:
            start[partition] = min(start.get(partition, offset), offset)
    places = list(_places(settings, topic, start, end))
    missing = [place for place in places if place not in answered]
    return Found(job, len(places), missing)


def _committed_offsets(settings: Settings, job: str, topic: Topic) -> dict[int, int]:
    """Return for each partition the offset up to which the job's newest checkpoint has read; 0 for one that it has not read."""
    name = settings.topic_prefix + topic
    options = {"group_id": f"{settings.topic_prefix}millrace-{job}", "enable_auto_commit": False, "bootstrap_timeout_ms": _TIMEOUT_MS}
    with closing(KafkaConsumer(**client_options(settings.kafka), metrics_enabled=False, **options)) as consumer:
        partitions = consumer.partitions_for_topic(name) or ()
        return {number: consumer.committed(TopicPartition(name, number)) or 0 for number in partitions}


def _places(settings: Settings, topic: Topic, start: Mapping[int, int], end: Mapping[int, int]) -> Iterator[Place]:
    for batch in read_committed(settings.kafka, settings.topic_prefix + topic, start, end):
        yield from ((record.partition, record.offset) for record in batch)


class RunningCheck:
    """A check in a process of its own: the supervisor has no time to read topics."""

    def __init__(self, job: str, since: int, environment: Mapping[str, str], log: Path) -> None:
        """Start it; why it could not find out, if so, is in `log`."""
        self._began = time.monotonic()
        # A file: a pipe is full after some thousand places, and nobody reads it before the process ends.
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the answer has been read
        command = [sys.executable, "-m", "stack.answers", "--job", job, "--since", str(since)]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                dying_with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended; one that takes too long is ended."""
        if self._process.poll() is None and time.monotonic() - self._began > PATIENCE_S:
            self.stop()
        return self._process.poll() is None

    def found(self) -> Found | None:
        """Return what it found; None if it could not find out, and must be asked again."""
        with self._out as out:
            out.seek(0)
            try:
                return msgspec.json.decode(out.read(), type=Found)
            except msgspec.DecodeError:
                return None

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Print what was found as JSON; 1 if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m stack.answers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--job", choices=("classify", "learn"), required=True)
    parser.add_argument("--since", type=int, required=True, metavar="MS", help="epoch milliseconds")
    options = parser.parse_args(arguments)
    found = unanswered(read_settings(os.environ), options.job, options.since)
    print(msgspec.json.encode(found).decode())
    return 1 if found.unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
