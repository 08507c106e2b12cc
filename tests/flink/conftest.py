"""A local Flink for topologies: lists stand where Kafka stands."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import Popen
from typing import NamedTuple

import pytest
from pyflink import java_gateway
from pyflink.datastream import DataStream
from pyflink.table import DataTypes, Table

from online_model.replica import Replica
from schemas.settings import Settings
from stack.flink import flink_part_pair
from stack.flink_configuration import FlinkEndpoints
from stack.jars import ensure_jars
from stack.java import packaged_java_home
from stack.ports import free_ports
from stream.environment import Environment, Job, Placement, configuration, create_environment
from tests.secured_broker import PASSWORD

KAFKA_PASSWORD_VARIABLE = "PASSWORD_OF_THE_SECURED_KAFKA"

RECORD = DataTypes.ROW(
    [
        DataTypes.FIELD("record_value", DataTypes.BYTES()),
        DataTypes.FIELD("record_partition", DataTypes.INT()),
        DataTypes.FIELD("record_offset", DataTypes.BIGINT()),
        DataTypes.FIELD("record_time", DataTypes.BIGINT()),
        DataTypes.FIELD("record_key", DataTypes.STRING()),
        DataTypes.FIELD("task", DataTypes.STRING()),
        DataTypes.FIELD("label", DataTypes.STRING()),
        DataTypes.FIELD("traceparent", DataTypes.STRING()),
    ]
)

Record = tuple[bytes | None, int, int, int, str | None, str | None, str | None, str | None]


def record(
    value: bytes | None,
    offset: int,
    *,
    key: str | None = None,
    task: str | None = None,
    label: str | None = None,
    time: int = 1000,
    traceparent: str | None = None,
) -> Record:
    """Return a row such as `raw_source` gives."""
    return (value, 0, offset, time, key, task, label, traceparent)


class Out(NamedTuple):
    """A row of `rows.OUT`, as collected."""

    topic: str
    key: str
    value: bytes
    task: str | None
    label: str | None
    traceparent: str | None = None


def collect(stream: DataStream) -> list[Out]:
    """Run the job and return what the stream gave; PyFlink collects bytes as a list of numbers, Java's, which have a sign."""
    with stream.execute_and_collect() as results:
        return [Out(row[0], row[1], bytes(number & 0xFF for number in row[2]), row[3], row[4], row[5]) for row in results]


def collect_until(stream: DataStream, enough: Callable[[list[Out]], bool], *, timeout_s: float = 60) -> list[Out]:
    """Run a job that does not end until what it gave is enough, then cancel it. One that never gives enough is an error."""
    found: list[Out] = []
    with stream.execute_and_collect() as results:
        # A job that gives nothing blocks its reader: it is cancelled from beside.
        watchdog = threading.Timer(timeout_s, results.close)
        watchdog.start()
        try:
            for row in results:
                found.append(Out(row[0], row[1], bytes(row[2]), row[3], row[4], row[5]))
                if enough(found):
                    break
        finally:
            watchdog.cancel()
    return found


def nothing(environment: Environment) -> Table:
    """Return a table such as `raw_source` gives, without a record."""
    listed = environment.tables.from_elements([(bytearray(), *record(None, 0)[1:])], RECORD)
    return environment.tables.sql_query(f"SELECT *, PROCTIME() AS arrived FROM {listed} WHERE record_offset < 0")  # noqa: S608 - the name is Flink's


def new_replica(settings: Settings, task: str, known: Replica | None = None) -> Replica:
    """Return the model of a task without a log."""
    return Replica(task, memory_mib=1, quality_window=settings.quality_window)


def configured_replica(settings: Settings, task: str, known: Replica | None = None) -> Replica:
    """Return the model of a task without a log, as the settings say."""
    return Replica.configured(settings, task)


@pytest.fixture(scope="session", autouse=True)
def flink_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Flink client in a JVM of its own, with the jars of the embedded stack."""
    folder = tmp_path_factory.mktemp("flink")
    rest, rpc, blob = free_ports(3)
    cluster = flink_part_pair(
        folder, FlinkEndpoints(rest, rpc, blob), logs=folder / "logs", java_home=packaged_java_home(), jars=ensure_jars()
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.client_environment.items():
            patch.setenv(name, value)
        # The JVM that runs the jobs has the environment of its start.
        patch.setenv(KAFKA_PASSWORD_VARIABLE, PASSWORD)
        patch.setenv("JVM_ARGS", f"-Djava.io.tmpdir={cluster.client_environment['TMPDIR']}")
        # PyFlink's `from_elements` makes a folder for each table, and leaves it.
        patch.setattr(tempfile, "tempdir", cluster.client_environment["TMPDIR"])
        started: list[Popen[bytes]] = []
        launch = java_gateway.launch_gateway_server_process

        def launch_and_note(*arguments: object) -> Popen[bytes]:
            started.append(launch(*arguments))
            return started[-1]

        # PyFlink drops the handle of its JVM; without it the process could not be waited for.
        patch.setattr(java_gateway, "launch_gateway_server_process", launch_and_note)
        yield
        java_gateway.get_gateway().shutdown()
        for process in started:
            with process:
                process.terminate()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(artifacts=str(tmp_path / "artifacts"), tasks=("default", "other"), model_memory_mib=1)


@pytest.fixture
def environment(tmp_path: Path, settings: Settings) -> Callable[[Job], Environment]:
    def create(job: Job) -> Environment:
        return create_environment(configuration(job, settings, Placement(checkpoints=f"file://{tmp_path}/checkpoints")))

    return create


@pytest.fixture
def idle_table(table: Callable[[Environment, Sequence[Record]], Table]) -> Callable[[Environment, Sequence[Record]], Table]:
    """Like `table`, but the source does not end: after its records nothing comes any more, and the job goes on."""

    def create(environment: Environment, records: Sequence[Record]) -> Table:
        tables = environment.tables
        listed = table(environment, records)
        tables.execute_sql(
            "CREATE TEMPORARY TABLE silence (number INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1',"
            " 'fields.number.min' = '1', 'fields.number.max' = '2')"
        )
        # Its rows are dropped before the topology: to all behind this the topic is idle.
        nothing = "CAST(NULL AS BYTES), 0, CAST(0 AS BIGINT), CAST(0 AS BIGINT), 'key', 'task', 'label', 'trace'"
        columns = ", ".join(RECORD.field_names())
        rows = f"SELECT {columns} FROM {listed} UNION ALL SELECT {nothing} FROM silence WHERE number < 0"  # noqa: S608 - the names are ours
        return tables.sql_query(f"SELECT *, PROCTIME() AS arrived FROM ({rows})")  # noqa: S608 - the names are ours

    return create


@pytest.fixture
def table() -> Callable[[Environment, Sequence[Record]], Table]:
    def create(environment: Environment, records: Sequence[Record]) -> Table:
        tables = environment.tables
        # PyFlink takes bytes for VARBINARY only as a bytearray.
        rows = [(None if value is None else bytearray(value), *rest) for value, *rest in records]
        listed = tables.from_elements(rows, RECORD)
        return tables.sql_query(f"SELECT *, PROCTIME() AS arrived FROM {listed}")  # noqa: S608 - the name is Flink's

    return create
