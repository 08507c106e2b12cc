"""Ports on loopback: free ones are chosen once and remembered, so that a restart uses the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from stack.folders import read_json, write_atomically

LOOPBACK = "127.0.0.1"
NAMES = (
    "kafka",
    "kafka_controller",
    "redis",
    "flink_rest",
    "flink_rpc",
    "flink_blob",
    "jobmanager_metrics",
    "taskmanager_metrics",
    "api",
    "refresh",
)
PREFERRED = {"kafka": 9092, "redis": 6379, "flink_rest": 8081, "api": 8000}
"""What a user expects; taken when free, else any free port."""


def is_free(port: int) -> bool:
    """Whether a server may listen on the port (a socket that is only waiting to be forgotten does not count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Return so many different free ports."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def choose_ports(path: Path, given: Mapping[str, int], *, needed: Iterable[str] = NAMES) -> tuple[dict[str, int], list[str]]:
    """Choose a port for every name: the given one, else the remembered one, else the preferred one if free, else a free one.

    Args:
        path: the file that remembers; written when everything is in order.
        given: ports that the user chose; 0: any free one, so the remembered one only if it is free, and no preferred one.
        needed: the names whose ports will be listened on.

    Returns:
        The ports, and a problem for each one that somebody else listens on.
    """
    stored = read_json(path)
    remembered = {str(name): int(port) for name, port in stored.items()} if isinstance(stored, dict) else {}
    ports: dict[str, int] = {}
    problems: list[str] = []
    for name, spare in zip(NAMES, free_ports(len(NAMES)), strict=True):
        known = given.get(name) or remembered.get(name)
        if known and name in needed and not is_free(known):
            if given.get(name) != 0:
                problems.append(_taken(name, known, path))
            known = None
        preferred = PREFERRED.get(name) if name not in given and name not in remembered else None
        ports[name] = known or (preferred if preferred and is_free(preferred) else spare)
    if not problems:
        write_atomically(path, json.dumps(ports, indent=1).encode())
    return ports, problems


def _taken(name: str, port: int, path: Path) -> str:
    option = f"--{name.replace('_', '-')}-port"
    advice = f"Stop that program, or choose another port with {option} ({option} 0: any)."
    return f"Port {port} for {name} is in use by another program. {advice} The last choice is remembered in {path}."
