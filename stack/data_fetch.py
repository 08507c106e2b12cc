"""`millrace data fetch NAME`: a public set from its own source, checked, as one file of our rows.

Nobody has given us checksums of these files, so the first download is trusted, as the commit in its address is: its SHA-256 is written
into `sources.json` in the user's folder of data, and every later download must have it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from stack.errors import StackError
from stack.folders import data_home, read_json, write_atomically
from stack.public_sets import PUBLIC_SETS, Fields, FormatError, PublicSet, convert

_TIMEOUT_S = 30
_CHUNK = 64 * 1024
_MOST_BYTES = 512 * 1024 * 1024


def default_folder() -> Path:
    """Return where sets are kept: `millrace/data` in the user's data home."""
    return data_home() / "millrace" / "data"


class Checksums:
    """The SHA-256 of every file that was ever downloaded, by address, in a file of the user's folder."""

    def __init__(self, path: Path) -> None:
        """Read them.

        Raises:
            StackError: if the file is none of ours.
        """
        self.path = path
        try:
            self._known = msgspec.convert(read_json(path) or {}, dict[str, str])
        except ValueError as error:
            raise StackError(f"{path}: no list of checksums: {error}") from error

    def check(self, address: str, data: bytes) -> bool:
        """Compare a download with what came from there before; True if nothing ever did, and its checksum is noted now.

        Raises:
            StackError: if it differs.
        """
        found = hashlib.sha256(data).hexdigest()
        known = self._known.setdefault(address, found)
        if known != found:
            raise StackError(
                f"{address}: not what came from there before: SHA-256 is {found}, was {known}. Nothing was written. If the change is "
                f"right, remove its line from {self.path}."
            )
        if address in (read_json(self.path) or {}):  # type: ignore[operator]  # __init__ has seen that it is a mapping
            return False
        write_atomically(self.path, msgspec.json.format(msgspec.json.encode(self._known), indent=1))
        return True


def run(args: argparse.Namespace) -> int:
    """Run the command: 0 if the set is there."""
    if args.name is None:
        for name, chosen in PUBLIC_SETS.items():
            print(f"{name:18} {sum(chosen.counts.values()):>7,} rows  {chosen.what}; licence: {chosen.licence}")
        return 0
    if args.name not in PUBLIC_SETS:
        raise StackError(f"there is no set {args.name!r}; there are {', '.join(PUBLIC_SETS)}")
    folder = args.output or default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _fetch(args.name, PUBLIC_SETS[args.name], args.source, folder)
    except OSError as error:
        raise StackError(f"{folder}: cannot be written: {error.strerror}") from error


def _fetch(name: str, chosen: PublicSet, source: str | None, folder: Path) -> int:
    base = chosen.base if source is None else source.rstrip("/") + "/"
    checksums = Checksums(folder / "sources.json")
    files: dict[str, bytes] = {}
    new = 0
    for path in chosen.files:
        files[path] = _download(base + path)
        new += checksums.check(base + path, files[path])
    try:
        rows = convert(chosen, files)
    except FormatError as error:
        raise StackError(f"{name}: its source has another form than it had: {error}") from error
    target = folder / f"{name}.jsonl"
    write_atomically(target, b"".join(_line(row) for row in rows))
    if new:
        print(f"{new} of {len(files)} files were never downloaded before: their SHA-256 are in {checksums.path} now", file=sys.stderr)
    _warn_if_unexpected(name, chosen, rows)
    print(f"{target}: {len(rows):,} rows; licence: {chosen.licence}")
    return 0


def _line(row: Fields) -> bytes:
    return msgspec.json.encode(row) + b"\n"


def _warn_if_unexpected(name: str, chosen: PublicSet, rows: list[Fields]) -> None:
    found: Mapping[str, int] = Counter(row["split"] for row in rows)
    if dict(found) != chosen.counts:
        said, wanted = (", ".join(f"{count:,} {part}" for part, count in counts.items()) for counts in (found, chosen.counts))
        print(f"{name}: {said} rows came, where {wanted} were expected", file=sys.stderr)


def _download(address: str) -> bytes:
    """Return what lies at an address, read piece by piece and shown as it comes.

    Raises:
        StackError: if it cannot be had, is cut off, or is larger than any of these sets.
    """
    try:
        with requests.get(address, stream=True, timeout=_TIMEOUT_S) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0))
            data = bytearray()
            with _progress(address.rpartition("/")[2], size) as shown:
                for piece in response.iter_content(_CHUNK):
                    data += piece
                    shown(len(data))
                    if len(data) > _MOST_BYTES:
                        raise StackError(f"{address}: more than {_MOST_BYTES >> 20} MiB come from there")
    except requests.HTTPError as error:
        raise StackError(f"{address}: {error.response.status_code} {error.response.reason}") from error
    except requests.ConnectionError as error:
        raise StackError(f"{address}: no connection: is this machine offline, or behind a proxy (HTTPS_PROXY)? {error}") from error
    except requests.RequestException as error:
        raise StackError(f"{address}: {error}") from error
    if size and len(data) != size and "Content-Encoding" not in response.headers:
        raise StackError(f"{address}: cut off after {len(data):,} of {size:,} bytes")
    return bytes(data)


class _Shown:
    """Shows how much of a file has come."""

    def __init__(self, progress: Progress, name: str, size: int) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=size or None)

    def __call__(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


@contextmanager
def _progress(name: str, size: int) -> Iterator[_Shown]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield _Shown(progress, name, size)
