"""The file of the API keys: names, roles and hashes, never a key itself. Written atomically, for its owner's eyes only.

A key is `mr_ID_SECRET`: the public id finds the entry, the secret is 256 random bits. The file keeps SHA-256 of the secret: a slow hash
(scrypt, Argon2) protects what people think up, since those can be guessed; nobody can try 2^256 secrets, however fast the hash is, and
a fast one costs a request a microsecond.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Annotated

import msgspec

from api.access.roles import in_order
from schemas.records import EpochMs, KeyRole

FORMAT = 1
KEYS_MAX = 1000
FILE_MAX_BYTES = 1024 * 1024
_ID_BYTES = 6
_SECRET_BYTES = 32

KeyName = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\\Z")]


class KeyFileError(Exception):
    """The key file cannot be used; whoever keeps it must act."""


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key: its public id, whose it is, what it may do, SHA-256 of its secret, and until when it is valid (None: for ever)."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}\\Z")]
    name: KeyName
    roles: Annotated[tuple[KeyRole, ...], msgspec.Meta(min_length=1)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
    created: EpochMs
    expires: EpochMs | None = None
    requests_per_s: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None

    def valid(self, now: int) -> bool:
        """Whether it may be used at `now`, epoch ms."""
        return self.expires is None or now < self.expires


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds. While a key is rotated, two entries have its name."""

    v: int = FORMAT
    keys: tuple[KeyEntry, ...] = ()

    def named(self, name: str) -> list[KeyEntry]:
        """Return the entries of a name."""
        return [key for key in self.keys if key.name == name]


def new_key(
    name: str, roles: tuple[KeyRole, ...], *, now: int, expires: int | None = None, requests_per_s: int | None = None
) -> tuple[KeyEntry, str]:
    """Return a new entry, and the key itself, which is nowhere kept.

    Raises:
        KeyFileError: if the name is none.
    """
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    fields: dict[str, object] = {"id": key_id, "name": name, "roles": in_order(roles), "sha256": digest(secret), "created": now}
    try:
        entry = msgspec.convert({**fields, "expires": expires, "requests_per_s": requests_per_s}, KeyEntry)
    except msgspec.ValidationError as error:
        raise KeyFileError(f"a key named {name!r} cannot be made (a name is 1 to 64 letters, digits and . _ @ -): {error}") from error
    return entry, f"mr_{key_id}_{secret}"


def digest(secret: str) -> str:
    """Return what the file keeps of a secret.

    >>> digest("abc")
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def read_key_file(path: Path) -> KeyFile:
    """Return what the file holds.

    Raises:
        KeyFileError: if it cannot be read, is damaged, or others than its owner may read or change it.
    """
    try:
        # Opened once, then asked who may read it: what is read is what was checked.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            _check_owner(path, os.fstat(descriptor))
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"the key file {path} cannot be read ({error.strerror})") from error
    if len(data) > FILE_MAX_BYTES:
        raise KeyFileError(f"the key file {path} is larger than {FILE_MAX_BYTES} bytes")
    return _decoded(path, data)


def write_key_file(path: Path, content: KeyFile) -> None:
    """Replace the file: readers see the old keys or the new ones, also after a crash; nobody but the owner may read it.

    Raises:
        KeyFileError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise KeyFileError(f"the key file {path} cannot be written ({error.strerror})") from error


def _check_owner(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(f"the key file {path} is no file")
    if found.st_mode & 0o077:
        raise KeyFileError(
            f"the key file {path} may be read or changed by others (mode {stat.S_IMODE(found.st_mode):04o}): `chmod 600 {path}`"
        )
    if found.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"the key file {path} belongs to user {found.st_uid}, not to the one who runs this ({os.geteuid()})")


def _decoded(path: Path, data: bytes) -> KeyFile:
    try:
        content = msgspec.json.decode(data, type=KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"the key file {path} is damaged: {error}") from error
    if content.v != FORMAT:
        raise KeyFileError(f"the key file {path} has format {content.v}; this program reads {FORMAT}")
    if len(content.keys) > KEYS_MAX:
        raise KeyFileError(f"the key file {path} holds {len(content.keys)} keys; at most {KEYS_MAX}")
    if len({key.id for key in content.keys}) < len(content.keys):
        raise KeyFileError(f"the key file {path} is damaged: two keys have one id")
    return content
