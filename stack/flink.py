"""Flink's JobManager and TaskManager, as processes of the PyFlink package's distribution.

They are started directly, not by the package's shell scripts: those start three more JVMs each time to work out the memory,
which is fixed here, and a killed TaskManager is to be back in seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from stack.flink_configuration import (
    JM_HEAP_MIB,
    METASPACE_MIB,
    TM_FRAMEWORK_MIB,
    TM_NETWORK_MIB,
    TM_TASK_HEAP_MIB,
    WORKING_FOLDERS,
    FlinkPorts,
    distribution,
    made_folder,
    opened_modules,
    write_configuration,
)
from stack.flink_metrics import compiled_loopback, java_options, reporter_options
from stack.flink_rest import FlinkRest, FlinkUnreachable
from stack.jars import connector_jar, ensure_jars
from stack.java import COMPILE_LATE, COMPILE_QUICKLY, packaged_java_home
from stack.log4j import log_properties
from stack.ports import LOOPBACK, free_ports
from stack.process import Part

SLOTS = 4
"""A slot for each job, and one to spare."""
_JM = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TM = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
_PROBE_TIMEOUT_S = 1.0
_CHATTY = ("org.apache.kafka", "org.apache.flink.kafka.shaded", "org.apache.flink.runtime.checkpoint", "org.apache.flink.connector.kafka")
"""Several checkpoints and transactions a second; Flink's REST interface tells of each."""


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
    ports: FlinkPorts,
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
        ports: where the JobManager listens.
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
    variables = {**(environment or {}), **_variables(folder, ports, logs, java_home, jars, slots, heap_mib)}
    rest = FlinkRest(f"{LOOPBACK}:{ports.rest}", timeout_s=_PROBE_TIMEOUT_S)
    jobmanager = _job_manager(folder, ports, logs, variables, rest)
    return Cluster(jobmanager, _task_manager(folder, ports, logs, variables, rest, heap_mib), variables)


def link_client(folder: Path, *, logs: Path, java_home: Path, jars: Path) -> dict[str, str]:
    """Return the environment of a client that submits to a cluster elsewhere; its configuration and jars lie below `folder`."""
    return _variables(folder, FlinkPorts(0, 0, 0), logs, java_home, jars)


def _variables(
    folder: Path, ports: FlinkPorts, logs: Path, java_home: Path, jars: Path, slots: int = SLOTS, heap_mib: int = TM_TASK_HEAP_MIB
) -> dict[str, str]:
    """Write configuration and links to the jars, and return the environment that leads Flink to them and to our Python packages."""
    logs.mkdir(parents=True, exist_ok=True)
    conf, lib = write_configuration(folder, ports, logs, slots, heap_mib), _link_jars(folder / "lib", jars)
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
    ports = FlinkPorts(*free_ports(5))
    home = java_home or packaged_java_home()
    cluster = flink_part_pair(folder, ports, logs=folder / "logs", java_home=home, jars=ensure_jars(), environment=environment)
    cluster.jobmanager.start()
    cluster.taskmanager.start()
    try:
        cluster.jobmanager.wait_healthy()
        cluster.taskmanager.wait_healthy()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _job_manager(folder: Path, ports: FlinkPorts, logs: Path, variables: Mapping[str, str], rest: FlinkRest) -> Part:
    log = logs / "jobmanager.log"
    command = [*_java(folder, log, variables, JM_HEAP_MIB, None, COMPILE_QUICKLY), _JM, "--configDir", variables["FLINK_CONF_DIR"]]
    command += reporter_options(ports.jobmanager_metrics)
    url = f"http://{LOOPBACK}:{ports.rest}"
    return Part(
        "jobmanager", lambda: command, rest.answers, log, ports.rest, out=log.with_suffix(".out"), url=url, environment=variables,
        folder=folder, stop_timeout_s=10,
    )  # fmt: skip


def _task_manager(folder: Path, ports: FlinkPorts, logs: Path, variables: Mapping[str, str], rest: FlinkRest, heap_mib: int) -> Part:
    log = logs / "taskmanager.log"
    heap, direct = TM_FRAMEWORK_MIB + heap_mib, TM_FRAMEWORK_MIB + TM_NETWORK_MIB
    fixed = [*_java(folder, log, variables, heap, direct, COMPILE_LATE), _TM, "--configDir", variables["FLINK_CONF_DIR"]]
    fixed += reporter_options(ports.taskmanager_metrics)
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


def _java(
    folder: Path, log: Path, variables: Mapping[str, str], heap_mib: int, direct_mib: int | None, compilation: Sequence[str]
) -> list[str]:
    properties = folder / "conf" / f"{log.stem}.properties"
    properties.write_text(log_properties(log, warnings_only=_CHATTY), encoding="utf-8")
    jars = sorted(Path(variables["FLINK_LIB_DIR"]).glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    return [
        f"{variables['JAVA_HOME']}/bin/java",
        f"-Xms{heap_mib // 2}m",
        f"-Xmx{heap_mib}m",
        f"-XX:MaxMetaspaceSize={METASPACE_MIB}m",
        *([f"-XX:MaxDirectMemorySize={direct_mib}m"] if direct_mib else []),
        "-XX:+UseG1GC",
        *compilation,
        "-XX:+ExitOnOutOfMemoryError",
        *opened_modules(),
        *java_options(),
        f"-Dlog.file={log}",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j.configurationFile=file:{properties}",
        f"-Dlog4j2.configurationFile=file:{properties}",
        "-cp",
        ":".join(map(str, [*jars, compiled_loopback(folder, Path(variables["JAVA_HOME"]))])),
    ]


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
