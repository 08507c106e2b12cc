"""The files of the dashboard, each with its compressed form and its tag, made once."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
PLOTLY = "plotly.min.js"
_LEVEL = 6


@dataclass(frozen=True)
class File:
    """A file as it is sent.

    Attributes:
        zipped: its bytes, compressed. The plain ones are not kept: there is hardly a client that asks for them.
        etag: changes when the bytes do.
        media_type: of the answer.
    """

    zipped: bytes
    etag: str
    media_type: str

    @classmethod
    def of(cls, name: str, body: bytes) -> File:
        """Return the file of this name, compressed."""
        suffix = "." + name.rpartition(".")[2]
        # No time in the header: the same bytes give the same answer, on every machine.
        zipped = gzip.compress(body, _LEVEL, mtime=0)
        return cls(zipped, f'"{hashlib.sha256(body).hexdigest()[:24]}"', MEDIA_TYPES[suffix])

    @property
    def plain(self) -> bytes:
        """The bytes as they are."""
        return gzip.decompress(self.zipped)


@dataclass(frozen=True)
class Page:
    """Our own files, by their path below the folder, and the version that stands for all of them."""

    files: dict[str, File]
    version: str


@cache
def page() -> Page:
    """Return the page; the index names the version of the other files, so that these may be kept for ever."""
    bodies = dict(_walk(resources.files(__package__) / "page", ""))
    digest = hashlib.sha256()
    for name in sorted(bodies):
        digest.update(name.encode() + b"\0" + bodies[name] + b"\0")
    version = digest.hexdigest()[:12]
    index = bodies.pop(INDEX).replace(b"{assets}", f"assets/{version}".encode()).replace(b"{plotly}", plotly_path().encode())
    files = {name: File.of(name, body) for name, body in bodies.items()}
    return Page({**files, INDEX: File.of(INDEX, index)}, version)


@cache
def plotly() -> File:
    """Return the script of the charts; compressing it takes a quarter of a second, once."""
    return File.of(PLOTLY, resources.files("plotly").joinpath("package_data", PLOTLY).read_bytes())


@cache
def plotly_version() -> str:
    """Return the version of the package that brings the script."""
    return metadata.version("plotly")


def plotly_path() -> str:
    """Return where the script is served; its version is in it, so that it may be kept for ever."""
    return f"assets/plotly-{plotly_version()}/{PLOTLY}"


def _walk(folder: Traversable, above: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        path = above + entry.name
        if entry.is_dir():
            found += _walk(entry, path + "/")
        elif "." + entry.name.rpartition(".")[2] in MEDIA_TYPES:
            found.append((path, entry.read_bytes()))
    return found
