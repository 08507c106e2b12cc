"""The registry: refreshes as runs of MLflow, releases as versions of a model there, for people to look up and compare.

It is a copy. What was released is in the model log, how it was made in its manifest; whatever fails here is logged, and nothing else
depends on it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from batch_model.mlflow_client import Place, connect
from batch_model.outcome import Outcome
from batch_model.run_content import metrics_of, parameters_of, tags_of, write_files
from schemas.manifest import Manifest
from schemas.redis_address import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_METRICS_A_BATCH = 500  # MLflow takes 1,000
_PARAMETERS_A_BATCH = 100
CHAMPION, CHALLENGER = "champion", "challenger"


class Recorded(msgspec.Struct, frozen=True):
    """Where a refresh was written down: the run, and the version of the task's model, null if it made none."""

    run_id: str
    version: str | None


class Registry:
    """The registry at one place.

    Args:
        place: where it is; nothing is opened before it is used.
        experiment: what the runs belong to; the models are called `EXPERIMENT-TASK`.
    """

    def __init__(self, place: Place, experiment: str) -> None:
        self.place = place
        self.experiment = experiment
        self._client: MlflowClient | None = None

    def record(self, outcome: Outcome, report: str, model: bytes | None) -> Recorded | None:
        """Write a refresh down; None, and a warning in the log, if that failed.

        Args:
            outcome: what came of it.
            report: its report, as HTML.
            model: the release artifact; None if there is none, and then no version is registered.
        """
        return self._attempt(lambda: self._record(outcome, report, model), "a refresh was not written to the registry")

    def sync(self, task: str, states: Mapping[str, str]) -> bool:
        """Move the aliases to what the log says; False, and a warning in the log, if that failed.

        Args:
            task: the task.
            states: of each line that ever came in: `serves`, the role that it is watched in, or `gone`; in the order of the log.
        """
        return self._attempt(lambda: self._sync(task, states), f"the registry does not know what serves task {task}") is not None

    def model_name(self, task: str) -> str:
        """Return what a task's model is called."""
        return f"{self.experiment}-{task}"

    def _connected(self) -> MlflowClient:
        if self._client is None:
            self._client = connect(self.place)
        return self._client

    def _record(self, outcome: Outcome, report: str, model: bytes | None) -> Recorded:
        client = self._connected()
        experiment_id = self._experiment(client)
        if (known := self._known(client, experiment_id, outcome)) is not None:
            return known
        run_id = self._new_run(client, experiment_id, outcome)
        finished = False
        try:
            self._fill(client, run_id, outcome, report, model)
            version = self._register(client, run_id, outcome) if model is not None else None
            finished = True
        finally:
            client.set_terminated(run_id, status="FINISHED" if finished else "FAILED")
        return Recorded(run_id, version)

    def _experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id if found else client.create_experiment(self.experiment, artifact_location=self.place.artifacts_uri))

    def _known(self, client: MlflowClient, experiment_id: str, outcome: Outcome) -> Recorded | None:
        """Return where this was written down before, by a refresh that was stopped after that and went on."""
        manifest = outcome.manifest
        same = f"tags.task = '{manifest.task}' and tags.line = '{manifest.line}' and tags.verdict = '{outcome.verdict}'"
        runs = client.search_runs([experiment_id], f"{same} and attributes.status = 'FINISHED'", max_results=1)
        if not runs:
            return None
        run_id = str(runs[0].info.run_id)
        versions = client.search_model_versions(f"run_id = '{run_id}'", max_results=1)
        return Recorded(run_id, str(versions[0].version) if versions else None)

    def _new_run(self, client: MlflowClient, experiment_id: str, outcome: Outcome) -> str:
        manifest = outcome.manifest
        run = client.create_run(experiment_id, start_time=manifest.created_at, tags=tags_of(outcome), run_name=manifest.line)
        return str(run.info.run_id)

    def _fill(self, client: MlflowClient, run_id: str, outcome: Outcome, report: str, model: bytes | None) -> None:
        parameters = parameters_of(outcome)
        for start in range(0, len(parameters), _PARAMETERS_A_BATCH):
            client.log_batch(run_id, params=parameters[start : start + _PARAMETERS_A_BATCH])
        metrics = metrics_of(outcome)
        for start in range(0, len(metrics), _METRICS_A_BATCH):
            client.log_batch(run_id, metrics=metrics[start : start + _METRICS_A_BATCH])
        with tempfile.TemporaryDirectory(prefix="millrace-registry-") as folder:
            write_files(Path(folder), outcome, report, model)
            client.log_artifacts(run_id, folder)

    def _register(self, client: MlflowClient, run_id: str, outcome: Outcome) -> str:
        manifest = outcome.manifest
        name = self.model_name(manifest.task)
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name, description=f"What task {manifest.task} of Millrace was given to serve.")
        version = client.create_model_version(
            name, f"runs:/{run_id}/model", run_id, tags=_version_tags(manifest), description="; ".join(outcome.reasons)
        )
        return str(version.version)

    def _sync(self, task: str, states: Mapping[str, str]) -> bool:
        client, name = self._connected(), self.model_name(task)
        versions = {str(version.tags.get("line")): version for version in _versions(client, name)}
        if not versions:
            return True
        serving = [line for line, state in states.items() if state == "serves"]
        watched = [line for line, state in states.items() if state in {"shadow", "split"}]
        for alias, lines in ((CHAMPION, serving), (CHALLENGER, watched)):
            self._point(client, name, alias, versions.get(lines[-1]) if lines else None)
        for line, version in versions.items():
            state = states.get(line, "never came in")
            if version.tags.get("state") != state:
                client.set_model_version_tag(name, version.version, "state", state)
        return True

    def _point(self, client: MlflowClient, name: str, alias: str, version: ModelVersion | None) -> None:
        if version is not None:
            client.set_registered_model_alias(name, alias, version.version)
        elif alias in client.get_registered_model(name).aliases:
            client.delete_registered_model_alias(name, alias)

    def _attempt(self, action: Callable[[], _Result], what: str) -> _Result | None:
        """Return what the action returns; whatever fails is logged, without the password of the address, and gives None."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - MLflow, SQLAlchemy, the network or a full disk: a copy for people must not fail a refresh
            said = str(error).replace(self.place.address, without_password(self.place.address))
            log.warning("%s: %s: %s", what, type(error).__name__, said)
            return None


def _version_tags(manifest: Manifest) -> dict[str, str]:
    artifact = manifest.origin.artifact
    return {
        "task": manifest.task,
        "line": manifest.line,
        "seq": str(manifest.origin.cut_seq),
        "candidate": manifest.candidate,
        "variant": manifest.variant,
        "fingerprint": manifest.data.fingerprint,
        "sha256": artifact.sha256 if artifact else "",
    }


def _versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """Return the versions of a model, the oldest first: of a line that was written down twice the last counts."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return iter(sorted(found, key=lambda version: int(version.version)))
