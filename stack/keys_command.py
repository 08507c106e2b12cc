"""`millrace keys`: makes the keys of the API, lists, revokes and rotates them. A running API takes the change within a second."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from api.access.key_file import KeyEntry, KeyFile, KeyFileError, new_key, read_key_file, write_key_file
from api.access.roles import ROLES
from schemas.api_settings import API_PREFIX
from stack.errors import StackError
from store.file_lock import FileLock, LockHeld

GRACE_S = 24 * 3600
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TOLD_ONCE = "This is the key. It is kept nowhere and shown this once:"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("keys", help="make, list, revoke and rotate the keys of the API", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="create | list | revoke | rotate")
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("name", metavar="NAME", help="whose it is: the name in the audit trail, and what rate limits count by")
    create.add_argument("--role", action="append", required=True, choices=ROLES, dest="roles", help="what it may do; may be given again")
    create.add_argument("--expires", type=duration, metavar="AGE", help="valid for so long: 12h, 90d (default: until it is revoked)")
    create.add_argument("--requests-per-s", type=int, metavar="N", help="its own limit (default: that of the API)")
    create.set_defaults(run=_create)
    commands.add_parser("list", help="list the keys: name, id, roles, until when; never the keys themselves").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="take a key away, at once")
    revoke.add_argument("name", metavar="NAME", help="all keys of this name, or the one with this id")
    revoke.set_defaults(run=_revoke)
    rotate = commands.add_parser("rotate", help="make a new key of the same name and roles; the old one stays valid for a while")
    rotate.add_argument("name", metavar="NAME")
    rotate.add_argument("--grace", type=duration, default=GRACE_S, metavar="AGE", help="how long the old one stays valid (default: 24h)")
    rotate.set_defaults(run=_rotate)
    for command in commands.choices.values():
        command.add_argument("--file", type=Path, metavar="FILE", help="the key file (default: $MILLRACE_API_KEYS)")
        command.set_defaults(func=_run)


def duration(text: str) -> int:
    """Return the seconds that an age names.

    >>> duration("90s"), duration("2h")
    (90, 7200)
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 30m, 12h or 90d")
    return int(found[1]) * _UNITS_S[found[2]]


def _run(args: argparse.Namespace) -> int:
    given = args.file or os.environ.get(f"{API_PREFIX}KEYS")
    if not given:
        raise StackError("Which key file? Give --file FILE, or set MILLRACE_API_KEYS.")
    try:
        return int(args.run(args, Path(given), time.time_ns() // 1_000_000))
    except KeyFileError as error:
        raise StackError(str(error)) from error


@contextmanager
def _changing(path: Path) -> Iterator[KeyFile]:
    """Give the file's content, none if there is no file yet, while no other command changes it."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(f"process {os.getpid()}")
    except LockHeld as error:
        raise StackError(f"Another command is changing {path} ({error.holder}).") from error
    except OSError as error:
        raise StackError(f"The folder of {path} cannot be written ({error.strerror}).") from error
    try:
        yield read_key_file(path) if path.exists() else KeyFile()
    finally:
        lock.release()


def _create(args: argparse.Namespace, path: Path, now: int) -> int:
    with _changing(path) as content:
        if content.named(args.name):
            raise StackError(f"There is a key named {args.name}: `millrace keys rotate {args.name}` replaces it, `revoke` takes it away.")
        expires = now + args.expires * 1000 if args.expires else None
        entry, key = new_key(args.name, tuple(args.roles), now=now, expires=expires, requests_per_s=args.requests_per_s)
        write_key_file(path, KeyFile(keys=(*content.keys, entry)))
    _tell(entry, key)
    return 0


def _rotate(args: argparse.Namespace, path: Path, now: int) -> int:
    with _changing(path) as content:
        old = max((key for key in _found(content, args.name, path) if key.valid(now)), key=lambda key: key.created, default=None)
        if old is None:
            raise StackError(f"No key named {args.name} is valid any more: `millrace keys revoke {args.name}`, then `create`.")
        lifetime = old.expires - old.created if old.expires is not None else None
        expires = now + lifetime if lifetime is not None else None
        entry, key = new_key(old.name, old.roles, now=now, expires=expires, requests_per_s=old.requests_per_s)
        ends = now + args.grace * 1000
        kept = [_ending(one, ends) if one.name == old.name else one for one in content.keys]
        write_key_file(path, KeyFile(keys=(*(one for one in kept if one.valid(now)), entry)))
    _tell(entry, key)
    print(f"The old one is valid until {_text(min(ends, old.expires or ends))}.")
    return 0


def _ending(key: KeyEntry, ends: int) -> KeyEntry:
    return msgspec.structs.replace(key, expires=ends if key.expires is None else min(ends, key.expires))


def _revoke(args: argparse.Namespace, path: Path, _: int) -> int:
    with _changing(path) as content:
        gone = _found(content, args.name, path)
        write_key_file(path, KeyFile(keys=tuple(key for key in content.keys if key not in gone)))
    for key in gone:
        print(f"revoked: {key.name} {key.id}")
    return 0


def _list(_: argparse.Namespace, path: Path, now: int) -> int:
    for key in read_key_file(path).keys:
        until = "for ever" if key.expires is None else f"until {_text(key.expires)}" if key.valid(now) else f"ended {_text(key.expires)}"
        limit = f", {key.requests_per_s} requests/s" if key.requests_per_s else ""
        print(f"{key.name:24} {key.id}  {', '.join(key.roles):28} made {_text(key.created)}, {until}{limit}")
    return 0


def _found(content: KeyFile, name: str, path: Path) -> list[KeyEntry]:
    found = content.named(name) or [key for key in content.keys if key.id == name]
    if not found:
        raise StackError(f"There is no key {name!r} in {path}: `millrace keys list` shows those there are.")
    return found


def _tell(entry: KeyEntry, key: str) -> None:
    until = "" if entry.expires is None else f", valid until {_text(entry.expires)}"
    print(f"{entry.name} {entry.id}: {', '.join(entry.roles)}{until}\n{_TOLD_ONCE}\n{key}")


def _text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
