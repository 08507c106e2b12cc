"""Releases in artifact storage: the model of each, and its manifest as JSON beside it."""

from __future__ import annotations

import logging

import msgspec

from schemas.log import Artifact, Origin
from schemas.manifest import Manifest
from schemas.parsing import encode
from store.artifacts import ArtifactError, ArtifactFolder

log = logging.getLogger(__name__)

_MODEL = ".safetensors"
_MANIFEST = ".json"


class ReleaseUnknown(LookupError):
    """There is no such release, or its manifest cannot be read."""


class ReleaseFolder:
    """The releases of all tasks, in the folder of the snapshots: nothing here is ever removed, a rollback may want it."""

    def __init__(self, artifacts: ArtifactFolder) -> None:
        self._artifacts = artifacts

    def put(self, manifest: Manifest, model_bytes: bytes) -> Manifest:
        """Store a release, the model before the manifest, and return the manifest with the model's address, checksum and size."""
        address = _address(manifest.task, manifest.line, _MODEL)
        sha256 = self._artifacts.put(address, model_bytes)
        artifact = Artifact(address=address, sha256=sha256, size_bytes=len(model_bytes))
        stored = msgspec.structs.replace(manifest, origin=Origin(artifact=artifact, cut_seq=manifest.origin.cut_seq))
        self._artifacts.put(_address(manifest.task, manifest.line, _MANIFEST), encode(stored))
        return stored

    def get(self, task: str, line: str) -> Manifest:
        """Return the manifest of a release; its model is neither read nor checked.

        Raises:
            ReleaseUnknown: if there is none, or it cannot be read.
        """
        return self._read(_address(task, line, _MANIFEST), task)

    def list(self, task: str) -> list[Manifest]:
        """Return the manifests of a task's releases, the newest first; one that cannot be read is left out aloud."""
        found: list[Manifest] = []
        for address in self._artifacts.list(f"{task}.releases/"):
            if address.endswith(_MANIFEST):
                try:
                    found.append(self._read(address, task))
                except ReleaseUnknown as error:
                    log.warning("%s", error)
        return sorted(found, key=lambda manifest: (manifest.created_at, manifest.line), reverse=True)

    def _read(self, address: str, task: str) -> Manifest:
        try:
            manifest = msgspec.json.decode(self._artifacts.read(address), type=Manifest)
        except (ArtifactError, OSError, ValueError) as error:
            raise ReleaseUnknown(f"no release {address}: {error}") from error
        if _address(manifest.task, manifest.line, _MANIFEST) != address or manifest.task != task:
            raise ReleaseUnknown(f"{address} is the manifest of line {manifest.line} of task {manifest.task}")
        return manifest


def _address(task: str, line: str, suffix: str) -> str:
    return f"{task}.releases/{line}{suffix}"
