"""The way to MLflow: where it keeps what it is told, and its client, loaded late and told to call nobody."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from schemas.refresh_settings import RefreshSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""What keeps MLflow from telling its makers that it is used; also for a server that is started for its pages."""

_NO_LINKS = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""With a server MLflow prints links to standard output, which is for the result of the refresh alone: the worker reads it."""

_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""How long a server that does not answer is waited for, unless the environment says otherwise; MLflow's own values come to minutes."""

_SQLITE = "sqlite:///"


class Place(msgspec.Struct, frozen=True):
    """A registry: its address, and where it puts the artifacts of new experiments; null where the server says that."""

    address: str
    artifacts_uri: str | None = None


def registry_place(refresh: RefreshSettings, folder: Path) -> Place | None:
    """Return where the registry is, None for no registry.

    Args:
        refresh: the settings.
        folder: of the refresh (`refresh_root`); the embedded store is `registry` in it.
    """
    if refresh.registry == "none":
        return None
    if not refresh.registry:
        return embedded(folder / "registry")
    if refresh.registry.startswith(_SQLITE):
        database = Path(refresh.registry.removeprefix(_SQLITE)).absolute()
        return Place(f"{_SQLITE}{database}", (database.parent / "artifacts").as_uri())
    if refresh.registry.startswith("http"):
        return Place(refresh.registry.rstrip("/"))
    return Place(refresh.registry, (folder.absolute() / "registry" / "artifacts").as_uri())


def embedded(folder: Path) -> Place:
    """Return the registry in a folder: an SQLite database with the artifacts beside it."""
    folder = folder.absolute()
    return Place(f"{_SQLITE}{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())


def connect(place: Place) -> MlflowClient:
    """Return a client; a new database is given its tables, which takes a few seconds.

    Raises:
        Exception: whatever MLflow, SQLAlchemy or the network raise.
    """
    _be_quiet()
    if place.address.startswith(_SQLITE):
        database = Path(place.address.removeprefix(_SQLITE))
        database.parent.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            log.warning("making the registry %s: a few seconds, once", database)
    with warnings.catch_warnings():
        # Its tables are declared with what the newest SQLAlchemy calls old; nobody who runs a refresh can change that.
        warnings.simplefilter("ignore", DeprecationWarning)
        from mlflow import MlflowClient  # noqa: PLC0415 - 1.2 s and pandas, which a refresh without a registry need not pay

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=place.address, registry_uri=place.address)


def _be_quiet() -> None:
    """Set what MLflow reads from the environment when it is imported."""
    os.environ.update(QUIET | _NO_LINKS)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
