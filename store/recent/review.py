"""What the review queue asks of a task's recent predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from online_model.review.opinions import Review
from store.recent.queries import SHOWN, recent_of
from store.recent.rows import Recent, unpack_reviews
from store.recent.table import RecentTable

_AT_ONCE = 500


class Standing(NamedTuple):
    """How far an event has come; `label` is the served one, empty if the model knew no class."""

    event_id: str
    label: str
    reviewed: bool
    marked_wrong: bool


class Reviewed(NamedTuple):
    """An event of which reviewers said something, when it was predicted, and the served label."""

    event_id: str
    label: str
    time: int
    reviews: tuple[Review, ...]


def newest(table: RecentTable, most: int) -> list[Standing]:
    """Return the newest events, newest first."""
    sql = "SELECT event_id, label, reviewed, marked_wrong FROM rows NOT INDEXED ORDER BY id DESC LIMIT ?"
    with table.locked() as execute:
        rows = execute(sql, (most,)).fetchall()
    return [Standing(event_id, label, bool(reviewed), bool(wrong)) for event_id, label, reviewed, wrong in rows]


def reviewed(table: RecentTable) -> list[Reviewed]:
    """Return the events of which reviewers said something, newest first."""
    sql = "SELECT event_id, label, time, reviews FROM rows INDEXED BY by_reviewer WHERE reviews IS NOT NULL ORDER BY id DESC"
    with table.locked() as execute:
        rows = execute(sql, ()).fetchall()
    return [Reviewed(event_id, label, time, unpack_reviews(packed)) for event_id, label, time, packed in rows]


def some(table: RecentTable, event_ids: Sequence[str]) -> dict[str, Recent]:
    """Return those of the events that are here, by id."""
    found: dict[str, Recent] = {}
    for start in range(0, len(event_ids), _AT_ONCE):
        part = event_ids[start : start + _AT_ONCE]
        places = ", ".join("?" * len(part))
        sql = f"SELECT {SHOWN} FROM rows CROSS JOIN bodies ON bodies.id = rows.id WHERE rows.event_id IN ({places})"  # noqa: S608 - places only
        with table.locked() as execute:
            rows = execute(sql, part).fetchall()
        for row in rows:
            recent = recent_of(row, None)
            found[recent.prediction.event_id] = recent
    return found
