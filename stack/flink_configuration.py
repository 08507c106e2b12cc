"""The configuration of Flink's two processes: memory, ports, folders, what is checkpointed and how failures are noticed."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stack.ports import LOOPBACK

JM_HEAP_MIB = 448
TM_FRAMEWORK_MIB = 128
TM_TASK_HEAP_MIB = 700
TM_MANAGED_SLOT_MIB = 48
"""For windows of Flink's SQL, which need room for the longest record or fail for ever. There are none now. Taken when needed."""
TM_NETWORK_MIB = 128
METASPACE_MIB = 320
LONG_MS = 200 * 24 * 3600 * 1000
"""The scheduler of Flink's actors takes no delay above 248 days."""
_DIARY_BYTES = 220
"""What the name of RocksDB's diary has at most, beside Flink's folder: ids of TaskManager, job and operator, and the operator's name."""
WORKING_FOLDERS = ("tmp", "blob", "work", "rocksdb-logs")
"""Inside Flink's folder: what its processes keep while they live."""


@dataclass(frozen=True)
class FlinkEndpoints:
    """Where the two processes listen. The TaskManager takes free ports.

    Attributes:
        rest: port of the JobManager's REST interface.
        rpc: port by which TaskManagers find the JobManager.
        blob: port from which they fetch files.
        jobmanager_metrics: port for Prometheus; 0: none.
        taskmanager_metrics: the same of the TaskManager.
        jobmanager: name or address of the JobManager.
        taskmanager: name or address of the TaskManager.
        bind: address on which both listen.
    """

    rest: int
    rpc: int
    blob: int
    jobmanager_metrics: int = 0
    taskmanager_metrics: int = 0
    jobmanager: str = LOOPBACK
    taskmanager: str = LOOPBACK
    bind: str = LOOPBACK


def distribution() -> Path:
    """Return the Flink distribution inside the PyFlink package, without importing it."""
    package = find_spec("pyflink")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("pyflink")
    return Path(package.origin).parent


def opened_modules() -> list[str]:
    """Return the `--add-opens` and `--add-exports` options of the distribution's own configuration."""
    text = (distribution() / "conf" / "config.yaml").read_text(encoding="utf-8")
    options = re.findall(r"--add-(?:opens|exports)=\S+", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    # The packaged JDK has no compiler module; Flink compiles by Janino, which does not need it.
    return [option for option in options if "=jdk.compiler/" not in option]


def write_configuration(folder: Path, at: FlinkEndpoints, logs: Path, slots: int, heap_mib: int) -> Path:
    """Write Flink's configuration into `folder/conf`, and return that."""
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    for name in ("log4j-cli.properties", "log4j-session.properties", "logback.xml", "logback-session.xml"):
        (conf / name).write_bytes((distribution() / "conf" / name).read_bytes())
    options = {
        **_options(folder, at),
        "taskmanager.numberOfTaskSlots": slots,
        "taskmanager.memory.task.heap.size": f"{heap_mib}m",
        "taskmanager.memory.managed.size": f"{TM_MANAGED_SLOT_MIB * slots}m",
        "env.log.dir": str(logs),
        "env.java.opts.all": " ".join(opened_modules()),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in options.items()]
    (conf / "config.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return conf


def _options(folder: Path, at: FlinkEndpoints) -> dict[str, str | int | bool]:
    return {
        "jobmanager.rpc.address": at.jobmanager,
        "jobmanager.rpc.port": at.rpc,
        "jobmanager.bind-host": at.bind,
        "blob.server.port": str(at.blob),
        "rest.address": at.jobmanager,
        "rest.bind-address": at.bind,
        "rest.port": at.rest,
        "rest.bind-port": str(at.rest),
        "taskmanager.host": at.taskmanager,
        "taskmanager.bind-host": at.bind,
        "taskmanager.cpu.cores": str(float(os.cpu_count() or 1)),
        "taskmanager.memory.framework.heap.size": f"{TM_FRAMEWORK_MIB}m",
        "taskmanager.memory.framework.off-heap.size": f"{TM_FRAMEWORK_MIB}m",
        "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.network.min": f"{TM_NETWORK_MIB}m",
        "taskmanager.memory.network.max": f"{TM_NETWORK_MIB}m",
        "taskmanager.memory.jvm-metaspace.size": f"{METASPACE_MIB}m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        "jobmanager.memory.heap.size": f"{JM_HEAP_MIB}m",
        "jobmanager.memory.jvm-metaspace.size": f"{METASPACE_MIB}m",
        # A process that is gone is noticed by its closed connection after two heartbeats; the time-out is for one that hangs.
        "heartbeat.interval": "1 s",
        "heartbeat.timeout": "8 s",
        # Jobs that are restarted wait for the TaskManager to come back. By default they fail at once and back off, ever longer.
        "resourcemanager.standalone.start-up-time": str(LONG_MS),
        "jobmanager.execution.failover-strategy": "region",
        # Several TaskManagers share the work; by default the first takes what it has slots for.
        "taskmanager.load-balance.mode": "SLOTS",
        # The JobManager takes this from its own configuration only; what a job says of it is ignored.
        "execution.checkpointing.num-retained": 5,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "io.tmp.dirs": str(made_folder(folder / "tmp")),
        "web.tmpdir": str(folder / "tmp"),
        "blob.storage.directory": str(made_folder(folder / "blob")),
        "process.working-dir": str(made_folder(folder / "work")),
        **_diary(folder),
        "classloader.check-leaked-classloader": False,
        "web.submit.enable": False,
        # By default pages of any origin may read it.
        "web.access-control-allow-origin": f"http://{at.jobmanager}:{at.rest}",
    }


def _diary(folder: Path) -> dict[str, str | int]:
    """Return where RocksDB keeps its own diary, which would fill the folder of the logs.

    It makes the file's name from the whole path of the database, and no name has more than 255 bytes. Where that is too long, Flink leaves
    the diary in the database; told where to put it, it does not look, and the job could not be started.
    """
    limits: dict[str, str | int] = {"state.backend.rocksdb.log.max-file-size": "1mb", "state.backend.rocksdb.log.file-num": 1}
    place = made_folder(folder / "rocksdb-logs")
    fits = len(os.fsencode(folder)) + _DIARY_BYTES <= 255
    return {**limits, "state.backend.rocksdb.log.dir": str(place)} if fits else limits


def made_folder(folder: Path) -> Path:
    """Make the folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
