"""The pages of MLflow and of TensorBoard on what refreshes have written: `python -m batch_model.registry_pages`, on the loopback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from batch_model.folder import refresh_folder
from batch_model.mlflow_client import QUIET, Place, registry_place
from schemas.refresh_settings import read_refresh_settings
from schemas.settings import read_settings

HOST = "127.0.0.1"
MLFLOW_PORT, TENSORBOARD_PORT = 5000, 6006


def mlflow_command(place: Place, port: int) -> list[str]:
    """Return the program that serves MLflow's pages, and its interface for clients, on a registry that is a database."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.address, "--host", HOST, "--port", str(port)]
    if place.artifacts_uri:
        command += ["--artifacts-destination", place.artifacts_uri]
    return [*command, "--workers", "1"]


def mlflow_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what it is started with: nothing is told to anyone, and no workers wait for jobs that nobody sends."""
    return {**environment, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def tensorboard_command(place: Place, port: int) -> list[str]:
    """Return the program that serves TensorBoard's pages on the curves of a registry whose artifacts lie in a folder.

    Raises:
        ValueError: if they lie elsewhere.
    """
    parts = urlsplit(place.artifacts_uri or "")
    if parts.scheme != "file":
        raise ValueError(f"the curves of {place.address} lie with its server: fetch them, and give TensorBoard the folder")
    return [sys.executable, "-m", "tensorboard.main", "--logdir", unquote(parts.path), "--host", HOST, "--port", str(port)]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Become the program that serves the pages; Ctrl-C ends it."""
    parser = argparse.ArgumentParser(prog="python -m batch_model.registry_pages", description=__doc__)
    parser.add_argument("--curves", action="store_true", help="TensorBoard instead of MLflow")
    parser.add_argument("--port", type=int, help=f"default: {MLFLOW_PORT}, for the curves {TENSORBOARD_PORT}")
    chosen = parser.parse_args(arguments)
    refresh = read_refresh_settings(os.environ)
    place = registry_place(refresh, refresh_folder(refresh, read_settings(os.environ)))
    if place is None:
        parser.error("MILLRACE_REFRESH_REGISTRY is `none`: there is no registry")
    if place.address.startswith("http"):
        parser.error(f"the registry is a server, and has its pages at {place.address}")
    if chosen.curves:
        command = tensorboard_command(place, chosen.port or TENSORBOARD_PORT)
    else:
        command = mlflow_command(place, chosen.port or MLFLOW_PORT)
    os.execve(command[0], command, mlflow_environment(os.environ))  # noqa: S606 - no shell is wanted; the command is ours


if __name__ == "__main__":
    main()
