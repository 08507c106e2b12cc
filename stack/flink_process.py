"""`millrace flink`: a JobManager or a TaskManager of a cluster, in the foreground, for containers and service managers.

The process becomes Flink's: it ends as that ends, and signals reach it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.settings import Settings, SettingsError, as_environment, read_settings
from stack.errors import ConfigurationErrors
from stack.flink import flink_variables, slots_for
from stack.flink_configuration import WORKING_FOLDERS, FlinkEndpoints
from stack.flink_java import CHATTY, job_manager_command, task_manager_command
from stack.folders import DataFolder, default_data_dir
from stack.jars import ensure_connector
from stack.java import packaged_java_home
from stack.log4j import console_properties
from stack.ports import LOOPBACK
from store.file_lock import FileLock, LockHeld

REST, RPC, BLOB, METRICS = 8081, 6123, 6124, 9249
"""Flink's own default ports, as everybody knows them; that of its reporter for Prometheus, too."""
ROLES = ("jobmanager", "taskmanager")
_LOCK = "lock"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("flink", help="run a JobManager or TaskManager in the foreground", description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument(
        "--jobmanager", default=LOOPBACK, metavar="HOST", help="name or address of the JobManager, for all (default: %(default)s)"
    )
    parser.add_argument(
        "--bind",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="listen here; Flink has no passwords, so beyond the loopback only in a network of its own",
    )
    parser.add_argument("--metrics-port", type=int, default=METRICS, metavar="PORT", help="for Prometheus; 0: none (default: %(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for files that no process outlives (default: flink in the data folder)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Become the process.

    Raises:
        ConfigurationErrors: naming all settings that are wrong.
    """
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        raise ConfigurationErrors(str(error).splitlines()) from error
    work = args.work or DataFolder(default_data_dir()).flink
    folder, lock = own_folder(work, args.role)
    # The lock is held by the process that this one becomes, until it ends.
    os.set_inheritable(lock.fileno(), True)
    command, variables = _command(args, settings, folder)
    os.execve(command[0], command, {**os.environ, **as_environment(settings), **variables})  # noqa: S606 - no shell is wanted


def own_folder(work: Path, role: str) -> tuple[Path, FileLock]:
    """Return a new folder below `work`, locked, and remove those that processes which have ended left there."""
    work.mkdir(parents=True, exist_ok=True)
    # Only such as this made: the folder may hold other things, an embedded Flink's for instance.
    for folder in work.glob(f"[{''.join(role[0] for role in ROLES)}]-*"):
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire()
        except LockHeld:
            continue
        except OSError:
            pass  # Without a lock file it was never taken into use.
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
    # A short name: RocksDB makes the name of its diary from the whole path, and such a name has 255 bytes.
    folder = Path(tempfile.mkdtemp(prefix=f"{role[0]}-", dir=work))
    lock = FileLock(folder / _LOCK)
    lock.acquire(role)
    return folder, lock


def _command(args: argparse.Namespace, settings: Settings, folder: Path) -> tuple[list[str], Mapping[str, str]]:
    here = LOOPBACK if args.bind == LOOPBACK else socket.gethostbyname(socket.gethostname())
    at = FlinkEndpoints(
        REST, RPC, BLOB, args.metrics_port, args.metrics_port, jobmanager=args.jobmanager, taskmanager=here, bind=args.bind
    )  # fmt: skip
    for name in WORKING_FOLDERS:
        (folder / name).mkdir()
    heap_mib = settings.taskmanager_heap_mib
    variables = flink_variables(
        folder, at, folder / "logs", packaged_java_home(), ensure_connector(), slots_for(settings.classify_parallelism), heap_mib
    )
    logging = console_properties(warnings_only=CHATTY)
    if args.role == "jobmanager":
        return job_manager_command(folder, at, variables, logging), variables
    command = task_manager_command(folder, at, variables, logging, heap_mib)
    return [*command, "-D", f"taskmanager.resource-id={socket.gethostname()}-{folder.name}"], variables
