"""What may be asked of a task's recent predictions. Every answer walks an index in its order and stops when the page is full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from schemas.records import Prediction, State
from store.recent.places import Place
from store.recent.rows import TIES, Marks, Recent, class_key, unpack_reviews
from store.recent.table import RecentTable
from store.recent.words import Search

FEW = 2000
"""Rows of a range of confidences that are looked up and sorted; if there are more, walking newest first meets them soon."""

LARGEST_ID = 2**63 - 1
SHOWN = "rows.id, rows.arrived, rows.state, rows.truth, rows.reviewed, rows.marked_wrong, rows.reviews, bodies.body"
_prediction = msgspec.json.Decoder(Prediction).decode

Order = Literal["newest", "oldest", "uncertain"]


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which predictions are wanted; what is None filters nothing.

    Attributes:
        label: served label; empty: where the model knew no class.
        min_confidence: least probability of the served label.
        max_confidence: largest one.
        line: line of the model that predicted.
        since: earliest time of prediction, epoch ms.
        until: the time before which they were made, epoch ms.
        reviewed: whether someone gave a label or verdict.
        state: of the label that counts.
        search: words in the text.
        rank_by: class by whose score they are ranked, best first, instead of newest first; only predictions that give its probability.
    """

    label: str | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    line: str | None = None
    since: int | None = None
    until: int | None = None
    reviewed: bool | None = None
    state: State | None = None
    search: Search | None = None
    rank_by: str | None = None


class RecentPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some predictions in their order, and where the next page starts (None after the last one)."""

    rows: list[Recent]
    next: Place | None


class Query(msgspec.Struct, frozen=True):
    """A statement and its values."""

    sql: str
    values: tuple[Any, ...]


def page(table: RecentTable, wanted: Filter, *, limit: int, after: Place | None = None) -> RecentPage:
    """Return the first predictions that are wanted, or those that follow a place."""
    with table.locked() as execute:
        query = plan(wanted, limit + 1, after, lambda: _few(execute, wanted))
        found = execute(query.sql, query.values).fetchall()
    rows = [recent_of(row[:-1], row[-1]) for row in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return RecentPage(rows=rows, next=None if last is None else Place(last[0], last[-1]))


def candidates(
    table: RecentTable, *, order: Order, limit: int, since: int | None = None, label: str | None = None, after: Place | None = None
) -> list[Recent]:
    """Return predictions that nobody has reviewed: newest or oldest first, or those of least confidence first.

    Args:
        table: whose.
        order: which first; `after` works with the orders by time.
        limit: at most so many.
        since: only those from a time on, epoch ms.
        label: only those that were served this label; empty: where the model knew no class.
        after: the last one that was returned before.
    """
    index, by = {
        "newest": ("NOT INDEXED", "rows.id DESC"),
        "oldest": ("NOT INDEXED", "rows.id"),
        "uncertain": ("INDEXED BY by_confidence", "rows.confidence, rows.id DESC"),
    }[order]
    conditions, values = _conditions(Filter(reviewed=False, since=since, label=label), "rows.id")
    if after is not None and order != "uncertain":
        conditions.append(f"rows.id {'<' if order == 'newest' else '>'} ?")
        values.append(after.id)
    sql = (
        f"SELECT {SHOWN} FROM rows {index} CROSS JOIN bodies ON bodies.id = rows.id WHERE {' AND '.join(conditions)} ORDER BY {by} LIMIT ?"  # noqa: S608 - our own conditions
    )
    with table.locked() as execute:
        return [recent_of(row, None) for row in execute(sql, (*values, limit)).fetchall()]


def arrived_after(table: RecentTable, position: int, *, limit: int) -> list[Recent]:
    """Return the newest `limit` of those predictions that arrived in Redis after a position, in the order in which they arrived."""
    source = "rows INDEXED BY by_arrival CROSS JOIN bodies ON bodies.id = rows.id"
    sql = f"SELECT {SHOWN} FROM {source} WHERE rows.arrived > ? ORDER BY rows.arrived DESC LIMIT ?"  # noqa: S608 - our own columns
    with table.locked() as execute:
        return [recent_of(row, None) for row in execute(sql, (position, limit)).fetchall()][::-1]


def span(table: RecentTable) -> tuple[int, int] | None:
    """Return the times of the oldest and the newest prediction, None if there is none."""
    with table.locked() as execute:
        oldest, newest = execute(
            "SELECT (SELECT time FROM rows ORDER BY id LIMIT 1), (SELECT time FROM rows ORDER BY id DESC LIMIT 1)", ()
        ).fetchone()
    return None if oldest is None else (oldest, newest)


def plan(wanted: Filter, limit: int, after: Place | None, few: Callable[[], bool]) -> Query:
    """Return the statement for a page. `few` says whether the confidences that are wanted are few, and is asked only if that matters."""
    if wanted.rank_by is not None:
        return _ranked(wanted, wanted.rank_by, limit, after)
    source, walked = _source(wanted, few)
    conditions, values = _conditions(wanted, walked)
    if after is not None:
        conditions.append(f"{walked} < ?")
        values.append(after.id)
    if wanted.search is not None:
        conditions.append("words MATCH ?")
        values.append(wanted.search.match)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    # CROSS JOIN: SQLite keeps to the order in which the tables are named.
    sql = f"SELECT {SHOWN}, NULL FROM {source} CROSS JOIN bodies ON bodies.id = rows.id{where} ORDER BY {walked} DESC LIMIT ?"  # noqa: S608 - our own conditions
    return Query(sql, (*values, limit))


def _source(wanted: Filter, few: Callable[[], bool]) -> tuple[str, str]:
    """Return what is walked, and by which id: the index of the filter that is likely to leave least."""
    if wanted.search is not None:
        return "words CROSS JOIN rows ON rows.id = words.rowid", "words.rowid"
    index = "NOT INDEXED"
    if wanted.state is not None:
        index = "INDEXED BY by_state"
    elif wanted.reviewed:
        index = "INDEXED BY by_review"
    elif wanted.label is not None:
        index = "INDEXED BY by_label"
    elif (wanted.min_confidence is not None or wanted.max_confidence is not None) and few():
        index = "INDEXED BY by_confidence"
    elif wanted.line is not None:
        index = "INDEXED BY by_line"
    return f"rows {index}", "rows.id"


def _ranked(wanted: Filter, label: str, limit: int, after: Place | None) -> Query:
    conditions, values = _conditions(wanted, "scores.id")
    conditions.append("scores.key = ?")
    values.append(class_key(label))
    if after is not None:
        conditions.append("(scores.score, scores.id) < (?, ?)")
        values += [after.score, after.id]
    if wanted.search is not None:
        conditions.append("scores.id IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(wanted.search.match)
    source = "scores CROSS JOIN rows ON rows.id = scores.id CROSS JOIN bodies ON bodies.id = rows.id"
    where, order = " AND ".join(conditions), "scores.score DESC, scores.id DESC"
    return Query(f"SELECT {SHOWN}, scores.score FROM {source} WHERE {where} ORDER BY {order} LIMIT ?", (*values, limit))  # noqa: S608 - our own conditions


_COMPARED: tuple[tuple[str, str], ...] = (
    ("label", "rows.label = ?"),
    ("min_confidence", "rows.confidence >= ?"),
    ("max_confidence", "rows.confidence <= ?"),
    ("line", "rows.line = ?"),
    ("since", "rows.time >= ?"),
    ("until", "rows.time < ?"),
    ("state", "rows.state = ?"),
)
_CROWDED_MS = 1000


def _conditions(wanted: Filter, walked: str) -> tuple[list[str], list[Any]]:
    given = [(condition, value) for name, condition in _COMPARED if (value := getattr(wanted, name)) is not None]
    conditions, values = [condition for condition, _ in given], [value for _, value in given]
    if wanted.reviewed is not None:
        # Written out: a partial index is used only where the statement itself says what it holds.
        conditions.append(f"rows.reviewed = {int(wanted.reviewed)}")
    # The bounds of time bound the id as well: there the walk starts and ends. Ids of a crowded millisecond may reach into the next ones.
    if wanted.since is not None:
        conditions.append(f"{walked} >= ?")
        values.append(wanted.since << TIES)
    if wanted.until is not None:
        conditions.append(f"{walked} < ?")
        values.append(min(LARGEST_ID, (wanted.until + _CROWDED_MS) << TIES))
    return conditions, values


def _few(execute: Callable[[str, Sequence[Any]], Any], wanted: Filter) -> bool:
    low = 0.0 if wanted.min_confidence is None else wanted.min_confidence
    high = 1.0 if wanted.max_confidence is None else wanted.max_confidence
    sql = f"SELECT count(*) FROM (SELECT 1 FROM rows INDEXED BY by_confidence WHERE confidence BETWEEN ? AND ? LIMIT {FEW})"  # noqa: S608 - a number of ours
    (found,) = execute(sql, (low, high)).fetchone()
    return bool(found < FEW)


def recent_of(row: Sequence[Any], score: float | None) -> Recent:
    """Return the prediction in a row of the columns `SHOWN`."""
    _, arrived, state, truth, reviewed, marked_wrong, reviews, body = row
    marks = Marks(
        state=None if state is None else State(state),
        truth=truth,
        reviewed=bool(reviewed),
        marked_wrong=bool(marked_wrong),
        reviews=() if reviews is None else unpack_reviews(reviews),
    )
    return Recent(prediction=_prediction(body), marks=marks, arrived=arrived, score=score)
