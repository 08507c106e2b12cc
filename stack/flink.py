"""Flink's JobManager and TaskManager, as processes of the PyFlink package's distribution.

They are started directly, not by the package's shell scripts: those start three more JVMs each time to work out the memory,
which is fixed here, and a killed TaskManager is to be back in seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stack.flink_configuration import (
    TM_TASK_HEAP_MIB,
    WORKING_FOLDERS,
    FlinkEndpoints,
    distribution,
    made_folder,
    write_configuration,
)
from stack.flink_java import CHATTY, job_manager_command, task_manager_command
from stack.flink_rest import FlinkRest, FlinkUnreachable
from stack.jars import connector_jar, ensure_jars
from stack.java import packaged_java_home
from stack.jobs import JOBS
from stack.log4j import log_properties
from stack.ports import LOOPBACK, free_ports
from stack.process import Part

SLOTS = 4
"""A slot for each job, and one to spare."""
_PROBE_TIMEOUT_S = 1.0


def slots_for(parallelism: int) -> int:
    """Return how many slots all jobs take at most, and one to spare, with so many instances of the predictor.

    >>> slots_for(1), slots_for(4)
    (4, 7)
    """
    return max(SLOTS, parallelism + len(JOBS))


@dataclass(frozen=True)
class Cluster:
    """Flink's two parts, and the environment in which a client submits to them."""

    jobmanager: Part
    taskmanager: Part
    client_environment: Mapping[str, str]

    @property
    def rest(self) -> str:
        """Where the JobManager's REST interface is: `host:port`."""
        return self.jobmanager.address

    def stop(self) -> None:
        """Stop both."""
        self.taskmanager.stop()
        self.jobmanager.stop()


def flink_part_pair(
    folder: Path,
    at: FlinkEndpoints,
    *,
    logs: Path,
    java_home: Path,
    jars: Path,
    environment: Mapping[str, str] | None = None,
    slots: int = SLOTS,
    heap_mib: int = TM_TASK_HEAP_MIB,
) -> Cluster:
    """Write Flink's configuration below `folder` and return its parts, not started.

    Args:
        folder: for configuration, links to the jars, and working files.
        at: where both listen.
        logs: folder of the log files.
        java_home: a JDK 17.
        jars: the cache with the Kafka connector.
        environment: variables for the Python functions (the settings).
        slots: of the TaskManager.
        heap_mib: for tasks and their state, of the TaskManager.
    """
    # What a killed TaskManager left: nothing in it outlives the process.
    for leftover in WORKING_FOLDERS:
        shutil.rmtree(folder / leftover, ignore_errors=True)
    variables = {**(environment or {}), **flink_variables(folder, at, logs, java_home, jars, slots, heap_mib)}
    rest = FlinkRest(f"{LOOPBACK}:{at.rest}", timeout_s=_PROBE_TIMEOUT_S)
    jobmanager = _job_manager(folder, at, logs, variables, rest)
    return Cluster(jobmanager, _task_manager(folder, at, logs, variables, rest, heap_mib), variables)


def link_client(folder: Path, *, logs: Path, java_home: Path, jars: Path) -> dict[str, str]:
    """Return the environment of a client that submits to a cluster elsewhere; its configuration and jars lie below `folder`."""
    return flink_variables(folder, FlinkEndpoints(0, 0, 0), logs, java_home, jars)


def flink_variables(
    folder: Path, at: FlinkEndpoints, logs: Path, java_home: Path, jars: Path, slots: int = SLOTS, heap_mib: int = TM_TASK_HEAP_MIB
) -> dict[str, str]:
    """Write configuration and links to the jars, and return the environment that leads Flink to them and to our Python packages."""
    logs.mkdir(parents=True, exist_ok=True)
    conf, lib = write_configuration(folder, at, logs, slots, heap_mib), _link_jars(folder / "lib", jars)
    return {
        "JAVA_HOME": str(java_home),
        "FLINK_HOME": str(distribution()),
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LIB_DIR": str(lib),
        "FLINK_PLUGINS_DIR": str(distribution() / "plugins"),
        "FLINK_LOG_DIR": str(logs),
        # Temporary files of a process that is killed stay here, and go with the next start.
        "TMPDIR": str(folder / "tmp"),
        # Python is found as `python` on PATH; its functions import our packages.
        "PATH": os.pathsep.join([str(_python_folder(folder)), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])),
    }


def start_flink(folder: Path, *, environment: Mapping[str, str] | None = None, java_home: Path | None = None) -> Cluster:
    """Start a JobManager and a TaskManager with their files in `folder`, and wait until slots are there.

    Raises:
        PartFailed: if one does not come up.
    """
    rest, rpc, blob, jobmanager_metrics, taskmanager_metrics = free_ports(5)
    at = FlinkEndpoints(rest, rpc, blob, jobmanager_metrics, taskmanager_metrics)
    home = java_home or packaged_java_home()
    cluster = flink_part_pair(folder, at, logs=folder / "logs", java_home=home, jars=ensure_jars(), environment=environment)
    cluster.jobmanager.start()
    cluster.taskmanager.start()
    try:
        cluster.jobmanager.wait_healthy()
        cluster.taskmanager.wait_healthy()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _job_manager(folder: Path, at: FlinkEndpoints, logs: Path, variables: Mapping[str, str], rest: FlinkRest) -> Part:
    log = logs / "jobmanager.log"
    command = job_manager_command(folder, at, variables, log_properties(log, warnings_only=CHATTY), log)
    url = f"http://{LOOPBACK}:{at.rest}"
    return Part(
        "jobmanager", lambda: command, rest.answers, log, at.rest, out=log.with_suffix(".out"), url=url, environment=variables,
        folder=folder, stop_timeout_s=10,
    )  # fmt: skip


def _task_manager(folder: Path, at: FlinkEndpoints, logs: Path, variables: Mapping[str, str], rest: FlinkRest, heap_mib: int) -> Part:
    log = logs / "taskmanager.log"
    fixed = task_manager_command(folder, at, variables, log_properties(log, warnings_only=CHATTY), heap_mib, log)
    resource = ""

    def command() -> list[str]:
        # A name of its own for each process: a new one is not taken for the one that was killed.
        nonlocal resource
        resource = f"taskmanager-{time.time_ns():x}"
        return [*fixed, "-D", f"taskmanager.resource-id={resource}"]

    def healthy() -> bool:
        try:
            return resource in rest.task_managers()
        except FlinkUnreachable:
            return False

    return Part(
        "taskmanager", command, healthy, log, 0, out=log.with_suffix(".out"), environment=variables, folder=folder, stop_timeout_s=10
    )


def _link_jars(lib: Path, jars: Path) -> Path:
    """Make `lib` a folder of links: the distribution's jars, PyFlink's own (its native library loads once in a process), the connector."""
    lib.mkdir(parents=True, exist_ok=True)
    home = distribution()
    wanted = [*(home / "lib").glob("*.jar"), home / "opt" / f"flink-python-{version('apache-flink')}.jar", connector_jar(jars)]
    for old in lib.iterdir():
        old.unlink()
    for jar in wanted:
        (lib / jar.name).symlink_to(jar)
    return lib


def _python_folder(folder: Path) -> Path:
    """Return the folder that has this interpreter under the name `python`."""
    return Path(sys.executable).parent if Path(sys.executable).parent.joinpath("python").exists() else _aliased(folder / "bin")


def _aliased(folder: Path) -> Path:
    alias = made_folder(folder) / "python"
    alias.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    alias.chmod(0o755)
    return folder
