"""`python -m batch_model registry`: MLflow's pages on what refreshes have written; the aliases moved to what serves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from batch_model.folder import refresh_root
from batch_model.mlflow_client import QUIET, Place, registry_place
from batch_model.registry import Registry
from schemas.redis_address import without_password
from schemas.refresh_settings import read_refresh_settings
from schemas.settings import SettingsError, read_settings
from schemas.topics import Topic
from store.model_history import ModelHistory
from store.model_log import ModelLogReader

HOST = "127.0.0.1"
PORT = 5000


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("registry", help="look at what refreshes have written", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    pages = actions.add_parser("pages", help="serve MLflow's pages on the loopback, until Ctrl-C")
    pages.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    pages.set_defaults(func=_serve_pages)
    actions.add_parser("sync", help="move the aliases champion and challenger to what the model log says").set_defaults(func=_sync)


def mlflow_command(place: Place, port: int) -> list[str]:
    """Return the program that serves MLflow's pages, and its interface for clients, on a registry that is a database."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    if place.artifacts_uri:
        command += ["--artifacts-destination", place.artifacts_uri]
    return [*command, "--workers", "1"]


def mlflow_environment(environment: Mapping[str, str], place: Place) -> dict[str, str]:
    """Return what it is started with: nothing is told to anyone, and no workers wait for jobs that nobody sends.

    The address of the registry goes here: it may hold a password, and every user of the machine sees the arguments of a program.
    """
    return {**environment, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": place.address}


def _place() -> Place:
    refresh = read_refresh_settings(os.environ)
    place = registry_place(refresh, refresh_root(read_settings(os.environ), refresh))
    if place is None:
        raise SettingsError("MILLRACE_REFRESH_REGISTRY is `none`: there is no registry")
    return place


def _serve_pages(args: argparse.Namespace) -> NoReturn:
    place = _place()
    if place.address.startswith("http"):
        raise SettingsError(f"the registry is a server: its pages are at {without_password(place.address)}")
    _become(mlflow_command(place, args.port), mlflow_environment(os.environ, place))


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, environment)  # noqa: S606 - no shell is wanted; the command is ours


def _sync(_: argparse.Namespace) -> int:
    """Return 0 if the registry knows what serves, 1 if it could not be told."""
    settings, place = read_settings(os.environ), _place()
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    registry = Registry(place, read_refresh_settings(os.environ).experiment)
    done = [registry.sync(task, states_of(ModelHistory.read(reader, task))) for task in settings.tasks]
    return 0 if all(done) else 1


def states_of(history: ModelHistory) -> dict[str, str]:
    """Return the state of each line, as `Registry.sync` takes it."""
    return {known.line: known.state for known in history.lines()}
