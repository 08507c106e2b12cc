"""The record of the topic `audit`: who changed what through the API."""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas.records import EpochMs, Id, KeyRole, Record, TaskName

AUDIT_IDS_MAX = 20


class AuditRecord(Record, frozen=True, kw_only=True):
    """Who changed what through the API, and how it was answered. Topic `audit`, key: the name of the API key, empty without one.

    `action` is method and route, or `keys changed`. Events and feedback, and what was refused, are added up for some seconds: `requests`
    says how many there were since `since`, `items` how many records were accepted in them. All else has a record for each request, with
    the first `ids` that it named or was given; `task` is null where it named none. `details` say which keys came (+), went (-) or
    changed (~).
    """

    time: EpochMs
    name: str | None
    roles: list[KeyRole]
    address: str
    action: str
    task: TaskName | None = None
    ids: Annotated[tuple[Id, ...], msgspec.Meta(max_length=AUDIT_IDS_MAX)] = ()
    items: int = 0
    requests: int = 1
    since: EpochMs | None = None
    status: int
    request_id: str | None = None
    details: tuple[str, ...] = ()
