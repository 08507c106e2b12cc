"""Artifact storage: immutable files under relative addresses, checked by SHA-256 when they are read."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from pathlib import Path

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_TEMPORARY = ".tmp-"
_STALE_S = 3600


class ArtifactError(Exception):
    """An artifact cannot be had; carries its address."""

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(f"artifact {address}: {detail}")
        self.address = address
        self.detail = detail


class ArtifactMissing(ArtifactError):
    """No artifact has this address."""


class ArtifactCorrupt(ArtifactError):
    """The artifact's bytes are not those that were put."""


class InvalidAddress(ArtifactError, ValueError):
    """The address is not a relative path of plain names."""


class ArtifactFolder:
    """Artifacts as files of one folder.

    `put` is atomic and durable: a reader finds the whole artifact or none, also after a power cut. Two writers of one
    address (a crashed one and its successor) do not disturb each other; the last rename wins.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def put(self, address: str, data: bytes) -> str:
        """Store `data` under `address` and return its SHA-256 in hex.

        Raises:
            InvalidAddress: if the address could leave the folder.
            OSError: if the folder cannot be written.
        """
        target = self._file(address)
        self._make_folder(target.parent)
        self._sweep(target.parent)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
        return hashlib.sha256(data).hexdigest()

    def get(self, address: str, sha256: str) -> bytes:
        """Return the artifact's bytes.

        Raises:
            ArtifactMissing: if there is none at this address.
            ArtifactCorrupt: if its bytes do not have this SHA-256.
            InvalidAddress: if the address could leave the folder.
        """
        data = self.read(address)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ArtifactCorrupt(address, f"SHA-256 is {found}, announced was {sha256} ({len(data)} bytes)")
        return data

    def read(self, address: str) -> bytes:
        """Return the artifact's bytes, of which nobody has announced a checksum.

        Raises:
            ArtifactMissing: if there is none at this address.
            InvalidAddress: if the address could leave the folder.
        """
        try:
            return self._file(address).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ArtifactMissing(address, f"not in {self.path}") from error

    def delete(self, address: str) -> None:
        """Remove the artifact; an absent one is no error."""
        self._file(address).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> list[str]:
        """Return the addresses that start with `prefix`, sorted."""
        files = (file for file in self.path.rglob("*") if file.is_file() and not file.name.startswith(_TEMPORARY))
        addresses = (file.relative_to(self.path).as_posix() for file in files)
        return sorted(address for address in addresses if address.startswith(prefix))

    def _file(self, address: str) -> Path:
        segments = address.split("/")
        if not all(_SEGMENT.fullmatch(segment) for segment in segments):
            raise InvalidAddress(address, "an address is a relative path of plain names (letters, digits, '.', '_', '-')")
        return self.path.joinpath(*segments)

    def _make_folder(self, folder: Path) -> None:
        """Create the folder and the missing ones above it, each entry durable."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    def _sweep(self, folder: Path) -> None:
        """Remove what crashed writers left behind; a live writer's file is younger."""
        oldest = time.time() - _STALE_S
        for file in folder.glob(f"{_TEMPORARY}*"):
            try:
                if file.stat().st_mtime < oldest:
                    file.unlink()
            except FileNotFoundError:
                continue  # another writer was faster


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
