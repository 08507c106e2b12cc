"""Whether a checkpoint or savepoint is what was written: checksums taken when it was complete, and marks on those that were refused.

Flink reads a state's metadata without any check: a flipped bit in an offset would be believed. What RocksDB keeps beside it
has checksums of its own, and shows when it is restored. Sums and marks are files beside the state, `chk-7.sha256`, as
`sha256sum -c` reads them, and `chk-7.refused`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path

METADATA = "_metadata"
_SUM, _REFUSED = ".sha256", ".refused"
_TIME_LINE = re.compile(r"^# (\d+) epoch ms$", re.MULTILINE)
_SUM_LINE = re.compile(r"^([0-9a-f]{64})  ", re.MULTILINE)


def note(state: Path) -> None:
    """Take the checksum of a complete state, unless that was done; a state that goes away meanwhile is left alone."""
    target = _beside(state, _SUM)
    if target.exists():
        return
    partial = _beside(state, ".partial")
    try:
        made = int((state / METADATA).stat().st_mtime * 1000)
        partial.write_text(f"# {made} epoch ms\n{_sum(state)}  {state.name}/{METADATA}\n", encoding="ascii")
        partial.replace(target)
        if not state.exists():
            target.unlink()
    except OSError:
        # Flink has replaced it by a newer one, or the disk is full: then it is unknown, not broken.
        with contextlib.suppress(OSError):
            partial.unlink()


def refuse(state: Path, reason: str) -> None:
    """Mark a state as one that must not be used again; where that cannot be written, it will be tried again, and refused again."""
    with contextlib.suppress(OSError):
        _beside(state, _REFUSED).write_text(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {reason}\n", encoding="utf-8")


def problem(state: Path) -> str | None:
    """Return why a state must not be used, or None; one without a checksum is trusted."""
    refused, noted = _beside(state, _REFUSED), _beside(state, _SUM)
    if refused.exists():
        return refused.read_text(encoding="utf-8", errors="replace").strip() or "it was refused before"
    wanted = _SUM_LINE.search(noted.read_text(encoding="ascii", errors="replace")) if noted.exists() else None
    if wanted is None:
        return None
    try:
        found = _sum(state)
    except OSError as error:
        return f"its {METADATA} cannot be read: {error.strerror}"
    return None if wanted.group(1) == found else f"its {METADATA} is not what was written (SHA-256 differs)"


def noted_time(state: Path) -> int | None:
    """Return when the state was made (epoch ms), as it was noted with its checksum; None if that was not done."""
    noted = _beside(state, _SUM)
    found = _TIME_LINE.search(noted.read_text(encoding="ascii", errors="replace")) if noted.exists() else None
    return int(found.group(1)) if found else None


def forget_removed(folder: Path) -> None:
    """Remove the sums and marks of states that Flink has removed, except the newest: a sum without a state tells that one is missing."""
    sums = sorted(folder.glob(f"*{_SUM}"), key=lambda path: path.stat().st_mtime)
    gone = [path for path in sums[:-1] if not path.with_suffix("").exists()]
    for path in gone + [path for path in folder.glob(f"*{_REFUSED}") if not path.with_suffix("").exists()]:
        path.unlink(missing_ok=True)


def noted_states(folder: Path) -> list[Path]:
    """Return the states in a folder that have a checksum, whether they are still there or not."""
    return [path.with_suffix("") for path in folder.glob(f"*{_SUM}")]


def _sum(state: Path) -> str:
    return hashlib.sha256((state / METADATA).read_bytes()).hexdigest()


def _beside(state: Path, suffix: str) -> Path:
    return state.with_name(state.name + suffix)
