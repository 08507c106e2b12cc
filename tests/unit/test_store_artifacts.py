"""Artifacts are whole, checked, and stay in their folder."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing, InvalidAddress

pytestmark = pytest.mark.unit

ADDRESS = "default/base-000000000120-ab12cd34.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "not" / "there" / "yet")


def test_what_was_put_comes_back(folder: ArtifactFolder) -> None:
    sha256 = folder.put(ADDRESS, b"abc")
    assert sha256 == hashlib.sha256(b"abc").hexdigest()
    assert folder.get(ADDRESS, sha256) == b"abc"
    assert folder.put(ADDRESS, b"") == hashlib.sha256(b"").hexdigest()
    assert folder.get(ADDRESS, hashlib.sha256(b"").hexdigest()) == b""


def test_missing_and_corrupt_are_different(folder: ArtifactFolder) -> None:
    with pytest.raises(ArtifactMissing, match=ADDRESS):
        folder.get(ADDRESS, "")
    sha256 = folder.put(ADDRESS, b"abc")
    with pytest.raises(ArtifactMissing):
        folder.get("default", sha256)
    with pytest.raises(ArtifactMissing):
        folder.get(ADDRESS + "/below", sha256)
    (folder.path / ADDRESS).write_bytes(b"abd")
    with pytest.raises(ArtifactCorrupt, match=ADDRESS):
        folder.get(ADDRESS, sha256)
    (folder.path / ADDRESS).write_bytes(b"ab")
    with pytest.raises(ArtifactCorrupt):
        folder.get(ADDRESS, sha256)


def test_list_and_delete(folder: ArtifactFolder) -> None:
    assert folder.list() == []
    for name in ("b/2", "a/1", "b/1"):
        folder.put(name, b"x")
    assert folder.list() == ["a/1", "b/1", "b/2"]
    assert folder.list("b/") == ["b/1", "b/2"]
    folder.delete("b/1")
    folder.delete("b/1")
    assert folder.list("b") == ["b/2"]


@pytest.mark.parametrize(
    "address", ["", "/a", "../a", "a/../b", "a//b", "a/", ".", "a/.hidden", "~/a", "a\\b", "a\x00b", "a\nb", "é", "x" * 201]
)
def test_addresses_stay_in_the_folder(folder: ArtifactFolder, address: str) -> None:
    for call in (lambda: folder.put(address, b""), lambda: folder.get(address, ""), lambda: folder.delete(address)):
        with pytest.raises(InvalidAddress):
            call()
    assert not folder.path.exists()


@given(st.text())
def test_no_address_leads_out(address: str) -> None:
    root = ArtifactFolder("/data/artifacts")
    try:
        file = root._file(address)
    except InvalidAddress:
        return
    assert Path(os.path.normpath(file)).is_relative_to(root.path)
    assert os.path.normpath(file) == str(file)


def test_a_failed_write_leaves_the_old_artifact_and_no_rest(folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = folder.put(ADDRESS, b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        folder.put(ADDRESS, b"new")
    monkeypatch.undo()
    assert folder.get(ADDRESS, sha256) == b"old"
    assert [file.name for file in (folder.path / "default").iterdir()] == [Path(ADDRESS).name]


def test_rests_of_crashed_writers_are_swept_and_never_listed(folder: ArtifactFolder) -> None:
    folder.put("default/a", b"x")
    old, young = folder.path / "default" / ".tmp-old", folder.path / "default" / ".tmp-young"
    for file in (old, young):
        file.write_bytes(b"half")
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    assert folder.list() == ["default/a"]
    folder.put("default/b", b"x")
    assert not old.exists()
    assert young.exists()
