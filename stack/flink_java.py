"""The command lines of Flink's JobManager and TaskManager: memory, compilation, logging, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.flink_configuration import (
    JM_HEAP_MIB,
    METASPACE_MIB,
    TM_FRAMEWORK_MIB,
    TM_NETWORK_MIB,
    FlinkEndpoints,
    opened_modules,
)
from stack.flink_metrics import compiled_loopback, java_options, reporter_options
from stack.java import COMPILE_LATE, COMPILE_QUICKLY
from stack.ports import LOOPBACK

_JM = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TM = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
CHATTY = ("org.apache.kafka", "org.apache.flink.kafka.shaded", "org.apache.flink.runtime.checkpoint", "org.apache.flink.connector.kafka")
"""Several checkpoints and transactions a second; Flink's REST interface tells of each."""


def job_manager_command(folder: Path, at: FlinkEndpoints, variables: Mapping[str, str], logging: str, log: Path | None = None) -> list[str]:
    """Return the command of a JobManager.

    Args:
        folder: of the cluster's files.
        at: where it listens.
        variables: what `stack.flink` returns for the folder.
        logging: the configuration of log4j 2.
        log: where that writes; Flink shows this file in its pages.
    """
    java = _java(folder, at, "jobmanager", variables, logging, log)
    memory = [f"-Xms{JM_HEAP_MIB // 2}m", f"-Xmx{JM_HEAP_MIB}m", *COMPILE_QUICKLY]
    return [*java, *memory, _JM, "--configDir", variables["FLINK_CONF_DIR"], *reporter_options(at.jobmanager_metrics)]


def task_manager_command(
    folder: Path, at: FlinkEndpoints, variables: Mapping[str, str], logging: str, heap_mib: int, log: Path | None = None
) -> list[str]:
    """Return the command of a TaskManager with so much heap for tasks and their state; it lacks `taskmanager.resource-id`."""
    java = _java(folder, at, "taskmanager", variables, logging, log)
    heap, direct = TM_FRAMEWORK_MIB + heap_mib, TM_FRAMEWORK_MIB + TM_NETWORK_MIB
    memory = [f"-Xms{heap // 2}m", f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m", *COMPILE_LATE]
    return [*java, *memory, _TM, "--configDir", variables["FLINK_CONF_DIR"], *reporter_options(at.taskmanager_metrics)]


def _java(folder: Path, at: FlinkEndpoints, name: str, variables: Mapping[str, str], logging: str, log: Path | None) -> Sequence[str]:
    properties = folder / "conf" / f"{name}.properties"
    properties.write_text(logging, encoding="utf-8")
    home = Path(variables["JAVA_HOME"])
    jars = sorted(Path(variables["FLINK_LIB_DIR"]).glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    # Flink's reporter listens everywhere; whoever binds to the loopback wants that of it, too.
    on_loopback = at.bind == LOOPBACK
    classpath = [*jars, compiled_loopback(folder, home)] if on_loopback else jars
    return [
        str(home / "bin" / "java"),
        f"-XX:MaxMetaspaceSize={METASPACE_MIB}m",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        *opened_modules(),
        *(java_options() if on_loopback else []),
        *([f"-Dlog.file={log}"] if log else []),
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j.configurationFile=file:{properties}",
        f"-Dlog4j2.configurationFile=file:{properties}",
        "-cp",
        ":".join(map(str, classpath)),
    ]
