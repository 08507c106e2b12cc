"""Flink environments: configuration of a job, on a cluster or in this process."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec
from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from schemas.settings import Settings
from store.rewind import Rewind


class Job(StrEnum):
    """The jobs; each is one topology."""

    CLASSIFY = "classify"
    LEARN = "learn"
    PUBLISH = "publish"


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job runs and what it starts from.

    Attributes:
        checkpoints: URI of the folder for its checkpoints.
        rest: `host:port` of the cluster's REST endpoint; None runs the job in this process, for tests.
        restore_from: path of the checkpoint or savepoint to start from.
        rewind: set if that is older than what the job has committed: what it committed since is not written again.
    """

    checkpoints: str
    rest: str | None = None
    restore_from: str | None = None
    rewind: Rewind | None = None


_ROCKSDB = {
    # Each checkpoint flushes a small file. Levelled compaction would rewrite the first level every four of them.
    "state.backend.rocksdb.compaction.style": "UNIVERSAL",
    # Half of the time of compaction went into snappy.
    "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION",
    # Nearly every prediction asks for an event id that is new: the filter answers without reading a block.
    "state.backend.rocksdb.use-bloom-filter": "true",
    # Index and filter blocks must stay in the cache: without, each read fetches and checks one (measured: 20 times slower).
    "state.backend.rocksdb.memory.fixed-per-slot": "256mb",
    "state.backend.rocksdb.memory.high-prio-pool-ratio": "0.3",
    "state.backend.rocksdb.block.blocksize": "16kb",
}

_PUBLISH_FACTOR = 6
_COUNT_INTERVALS = 4


def configuration(job: Job, settings: Settings, placement: Placement) -> dict[str, str]:
    """Return everything that Flink is told about the job; nothing is left to defaults that matter for exactness."""
    options = {
        "pipeline.name": job.value,
        "python.execution-mode": "thread",
        # No operator here keeps or changes a record that it was given.
        "pipeline.object-reuse": "true",
        "parallelism.default": str(settings.classify_parallelism if job is Job.CLASSIFY else 1),
        "execution.checkpointing.interval": f"{_interval_ms(job, settings)} ms",
        "execution.checkpointing.min-pause": f"{settings.checkpoint_interval_ms // 5} ms",
        "execution.checkpointing.timeout": "2 min",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.dir": placement.checkpoints,
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "state.backend.type": _state_backend(job, settings),
        # An outage of Kafka or Redis may last: try for ever, ever slower, and forget the past after a good minute.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "20 s",
        "restart-strategy.exponential-delay.backoff-multiplier": "2.0",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
        "restart-strategy.exponential-delay.jitter-factor": "0.1",
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{settings.kept_s} s",
        "table.exec.simplify-operator-name-enabled": "true",
    }
    if job is Job.PUBLISH:
        options |= {
            # Counts are written some times a second, not once a record. The flush comes before each barrier.
            "table.exec.mini-batch.enabled": "true",
            "table.exec.mini-batch.allow-latency": f"{_COUNT_INTERVALS * settings.publish_interval_ms} ms",
            "table.exec.mini-batch.size": "100000",
            "table.optimizer.agg-phase-strategy": "TWO_PHASE",
            # The counters of a total live for ever; those of a window get a lifetime of their own in the query.
            "table.exec.state.ttl": "0",
        }
    if options["state.backend.type"] == "rocksdb":
        options |= _ROCKSDB
    if placement.restore_from:
        options["execution.state-recovery.path"] = placement.restore_from
    if placement.rest:
        host, _, port = placement.rest.rpartition(":")
        options |= {"execution.target": "remote", "execution.attached": "false", "rest.address": host, "rest.port": port}
    return options


class Environment(NamedTuple):
    """A stream environment and the table environment over it."""

    streams: StreamExecutionEnvironment
    tables: StreamTableEnvironment


def _state_backend(job: Job, settings: Settings) -> str:
    """Return learn's chosen backend; the state of the other jobs is a few counters, fastest on the heap."""
    return settings.learn_state_backend if job is Job.LEARN else "hashmap"


def _interval_ms(job: Job, settings: Settings) -> int:
    """Return the time between checkpoints: only committed output waits for them, and publish writes at once."""
    return settings.checkpoint_interval_ms * (_PUBLISH_FACTOR if job is Job.PUBLISH else 1)


def create_environment(options: dict[str, str]) -> Environment:
    """Return an environment with these options: that of a cluster if they name a target, else one in this process."""
    config = Configuration()
    for name, value in options.items():
        config.set_string(name, value)
    if "execution.target" in options:
        # PyFlink's factory ignores the target outside `flink run`; the Java constructor honours it.
        java = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
        streams = StreamExecutionEnvironment(java(config._j_configuration))  # noqa: SLF001 - PyFlink has no accessor
    else:
        streams = StreamExecutionEnvironment.get_execution_environment(config)
    return Environment(streams, StreamTableEnvironment.create(streams))
