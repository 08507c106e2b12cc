"""`millrace prepare`: checks the configuration of all parts before any of them starts, and makes the first API keys.

All that is wrong is said at once. Keys are made when there is no key file yet: `admin.key` for people, `metrics.key` for Prometheus.
They are not shown: whoever may read the folder reads them there.
"""

from __future__ import annotations

import argparse
import difflib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from api.access.key_file import KeyFile, KeyFileError, new_key, write_key_file
from api.access.start import troubles
from online_model.models import problems_of
from schemas.api_settings import API_PREFIX, ApiSettings, read_api_settings
from schemas.compose_settings import ComposeSettings, read_compose_settings
from schemas.kafka_login import LOGIN_PREFIX, KafkaLogin
from schemas.records import KeyRole
from schemas.refresh_settings import REFRESH_PREFIX, RefreshSettings, read_refresh_settings
from schemas.settings import PREFIX, Settings, SettingsError, read_settings
from schemas.worker_settings import WorkerSettings, read_worker_settings
from stack.errors import ConfigurationErrors
from stack.folders import write_atomically
from store.kafka_login import troubles as kafka_troubles

_KINDS: tuple[tuple[type[msgspec.Struct], str], ...] = (
    (Settings, PREFIX), (KafkaLogin, LOGIN_PREFIX), (ApiSettings, API_PREFIX), (RefreshSettings, REFRESH_PREFIX),
    (WorkerSettings, REFRESH_PREFIX), (ComposeSettings, PREFIX),
)  # fmt: skip
_OTHERS = (
    "MILLRACE_DATA_DIR",
    "MILLRACE_FLINK",
    "MILLRACE_JARS",
    "MILLRACE_MAVEN",
    "MILLRACE_CHECKPOINTS",
    "MILLRACE_API_URL",
    "MILLRACE_API_KEY",
)
"""What the command line and the client read beside the settings."""
FIRST_KEYS: Mapping[str, KeyRole] = {"admin": "admin", "metrics": "read"}
"""The keys that are made first, and their roles."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("prepare", help="check the whole configuration, and make the first API keys", description=__doc__)
    parser.add_argument("--keys", type=Path, metavar="DIR", help="folder of the key file, which holds hashes; without it no keys are made")
    parser.add_argument("--first-keys", type=Path, metavar="DIR", help="folder of the first keys themselves (default: that of --keys)")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Check, and make the keys.

    Raises:
        ConfigurationErrors: naming all that is wrong; nothing was made.
    """
    made: list[str] = []
    environment = dict(os.environ)
    if args.keys:
        environment[f"{API_PREFIX}KEYS"] = str(args.keys / "keys.json")
    problems = problems_in(environment)
    if not problems and args.keys:
        made = make_keys(args.keys, args.first_keys or args.keys, now=time.time_ns() // 1_000_000)
        problems = troubles(read_api_settings(environment))
    if problems:
        raise ConfigurationErrors(problems)
    print("the configuration is in order")
    for path in made:
        print(f"new key: {path}")
    return 0


def problems_in(environment: Mapping[str, str]) -> list[str]:
    """Return all that is wrong with the settings of all parts, a line each; whether servers answer is not asked."""
    found: list[str] = []
    settings = _read(found, lambda: read_settings(environment))
    for read in (read_api_settings, read_refresh_settings, read_worker_settings, read_compose_settings):
        _read(found, lambda read=read: read(environment))  # type: ignore[misc]  # a lambda's default is untyped
    found += problems_of(environment.get(f"{PREFIX}MODEL") or Settings().model)
    found += unknown(environment)
    if settings is not None:
        found += [f"{PREFIX}KAFKA: {problem}" for problem in kafka_troubles(settings.kafka)]
    return list(dict.fromkeys(found))


def unknown(environment: Iterable[str]) -> list[str]:
    """Return a line for each variable that begins like ours and is none: a slip of the pen would otherwise change nothing, silently.

    >>> unknown({"MILLRACE_TASKS": "a", "MILLRACE_TASK": "a", "HOME": "/"})
    ['MILLRACE_TASK is no setting; did you mean MILLRACE_TASKS? docs/settings.md lists them all.']
    """
    known = [prefix + field.name.upper() for kind, prefix in _KINDS for field in msgspec.structs.fields(kind)] + list(_OTHERS)
    lines = []
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, n=1)
        lines.append(f"{name} is no setting;{f' did you mean {near[0]}?' if near else ''} docs/settings.md lists them all.")
    return lines


def make_keys(folder: Path, shown: Path, *, now: int) -> list[str]:
    """Make the key file in `folder` and the first keys in `shown` if there is no key file yet, and return the files of the new keys.

    Raises:
        ConfigurationErrors: if the folder cannot be written.
    """
    path = folder / "keys.json"
    if path.exists():
        return []
    try:
        for one in (folder, shown):
            one.mkdir(parents=True, exist_ok=True)
        new = {name: new_key(name, (role,), now=now) for name, role in FIRST_KEYS.items()}
        for name, (_, key) in new.items():
            write_atomically(shown / f"{name}.key", key.encode(), private=True)
        # Prometheus runs as another user; this key shows it numbers, and predictions to whoever is let into its container.
        (shown / "metrics.key").chmod(0o444)
        write_key_file(path, KeyFile(keys=tuple(entry for entry, _ in new.values())))
    except (OSError, KeyFileError) as error:
        raise ConfigurationErrors([f"The keys cannot be made in {folder}: {error}. Correct its owner or mode."]) from error
    return [str(shown / f"{name}.key") for name in new]


def _read(found: list[str], read: Callable[[], Any]) -> Any:
    try:
        return read()
    except SettingsError as error:
        found.extend(str(error).splitlines())
        return None
