"""Roles: what a key may do, and who asks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from schemas.records import KeyRole

ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
"""In the order in which they are shown."""

_IMPLIED: Mapping[KeyRole, frozenset[KeyRole]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"write", "read"}),
    "review": frozenset({"review", "read"}),
    "admin": frozenset(ROLES),
}


def expand(roles: Iterable[KeyRole]) -> frozenset[KeyRole]:
    """Return the roles with those that they imply.

    >>> sorted(expand(["write"]))
    ['read', 'write']
    """
    return frozenset[KeyRole]().union(*(_IMPLIED[role] for role in roles))


def in_order(roles: Iterable[KeyRole]) -> list[KeyRole]:
    """Return the roles in the order in which they are shown."""
    given = set(roles)
    return [role for role in ROLES if role in given]


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        name: of the key; None without one.
        roles: what it may do, with all that this implies.
        address: where it came from.
        requests_per_s: the key's own limit; None for the general one.
    """

    name: str | None
    roles: frozenset[KeyRole]
    address: str
    requests_per_s: int | None = None

    @property
    def who(self) -> str:
        """What the rate limits count by: a key counts as one wherever it is used from."""
        return f"key {self.name}" if self.name is not None else f"address {self.address}"
