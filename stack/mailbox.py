"""How the command line asks a running supervisor for something: a file for each request, a file for each answer."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path
from typing import Literal

import msgspec

from stack.errors import NotRunning
from stack.folders import write_atomically

POLL_S = 0.2


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Submit or stop a job; `start_from` and `empty` say what a submission starts from, else the newest state counts."""

    do: Literal["submit", "stop"]
    job: str
    start_from: str | None = None
    empty: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request."""

    ok: bool
    message: str


def ask(folder: Path, request: JobRequest, *, timeout_s: float) -> Answer:
    """Put a request and wait for its answer.

    Raises:
        NotRunning: if there is no answer in time.
    """
    name = uuid.uuid4().hex
    write_atomically(folder / f"{name}.request", msgspec.json.encode(request))
    answer = folder / f"{name}.answer"
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer.exists():
            text = answer.read_bytes()
            answer.unlink()
            return msgspec.json.decode(text, type=Answer)
        time.sleep(POLL_S)
    (folder / f"{name}.request").unlink(missing_ok=True)
    raise NotRunning(f"The supervisor did not answer within {timeout_s:.0f} s; see `millrace status` and `millrace logs supervisor`.")


def take(folder: Path) -> list[tuple[Path, JobRequest]]:
    """Return the new requests and where to answer them; requests that cannot be read are answered here."""
    taken = []
    for path in sorted(folder.glob("*.request")):
        target = path.with_suffix(".answer")
        try:
            taken.append((target, msgspec.json.decode(path.read_bytes(), type=JobRequest)))
        except msgspec.DecodeError as error:
            reply(target, ok=False, message=f"The request cannot be read: {error}")
        path.unlink()
    return taken


def reply(target: Path, *, ok: bool, message: str) -> None:
    """Answer a request."""
    # On a full disk there is no answer; whoever asked says so after a while.
    with contextlib.suppress(OSError):
        write_atomically(target, msgspec.json.encode(Answer(ok=ok, message=message)))
