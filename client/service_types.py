"""What the API answers about itself, as types. Times are epoch milliseconds."""

from __future__ import annotations

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a part is ready (None: not known), and since when, or until when it was."""

    ready: bool | None
    detail: str
    since: int | None


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the API can serve, and each part."""

    ready: bool
    parts: dict[str, Part]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and what they may."""

    name: str | None
    roles: list[str]
    keys_required: bool
