"""The recent predictions of one task, in SQLite. Safe to use from several threads: each call holds the table's lock for its short time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from schemas.records import Prediction
from store.recent.rows import TIES, Marks, Recent, columns, first_id, scores
from store.recent.schema import open_database
from store.recent.words import spaced
from store.turns import Turns

CHUNK = 100
"""Rows that are written at once: a reader waits some milliseconds for them at most."""

STATEMENT_ROWS = 1000
"""Rows of one statement; of 14 columns at most, and SQLite allows 32,766 values."""

_prediction = msgspec.json.Decoder(Prediction).decode

Body = tuple[bytes, Prediction]
"""A prediction as JSON, and parsed."""


class RecentTable:
    """Holds the newest `most` predictions that it is given.

    Attributes:
        events: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.events = 0
        self._most = most
        self._turns = Turns()
        self._database = open_database()

    @contextmanager
    def locked(self) -> Iterator[Callable[[str, Sequence[Any]], sqlite3.Cursor]]:
        """Give what executes a statement, while nobody else uses the table; read all rows before it ends."""
        with self._turns.taken():
            yield self._database.execute

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turns.taken():
            self._database.execute("BEGIN")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def clear(self) -> None:
        """Forget everything."""
        fresh = open_database()
        with self._turns.taken():
            old, self._database, self.events = self._database, fresh, 0
        old.close()

    def close(self) -> None:
        """Free the memory; nothing may be asked after that."""
        with self._turns.taken():
            self._database.close()

    def add(self, bodies: Sequence[bytes], rows: Sequence[Recent]) -> list[Recent]:
        """Add predictions that are not here yet, each with its JSON, and return those; of the others the label is set anew."""
        added: list[Recent] = []
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            with self._writing() as database:
                known = _known(database, [row.prediction.event_id for row in part])
                chosen = {
                    row.prediction.event_id: (body, row)
                    for body, row in zip(bodies[start : start + CHUNK], part, strict=True)
                    if row.prediction.event_id not in known
                }
                _insert(database, list(chosen.values()))
                _mark(database, [(known[row.prediction.event_id], row) for row in part if row.prediction.event_id in known])
                self.events += len(chosen)
            added += [row for _, row in chosen.values()]
        self._shrink()
        return added

    def known(self, event_ids: Sequence[str]) -> set[str]:
        """Return those of the events that are here."""
        with self._turns.taken():
            return set(_known(self._database, event_ids))

    def set_marks(self, marks: dict[str, Marks]) -> int:
        """Set what is known of labels, by event id; return how many of the events are here."""
        events, changed = list(marks), 0
        for start in range(0, len(events), CHUNK):
            part = events[start : start + CHUNK]
            with self._writing() as database:
                ids = _known(database, part)
                labels = dict(database.execute(f"SELECT id, label FROM rows WHERE id IN ({_places(ids)})", list(ids.values())).fetchall())  # noqa: S608 - places only
                database.executemany(_SET_MARKS, [_mark_columns(marks[event], labels[row], row) for event, row in ids.items()])
                changed += len(ids)
        return changed

    def drop_before(self, oldest: tuple[int, str] | None) -> None:
        """Remove what is older than a time and event id, as Redis orders them; everything if that is None."""
        if oldest is None:
            if self.events:
                self.clear()
            return
        time, event_id = oldest
        end = (time + 1) << TIES
        self._drop("id < ? AND (time < ? OR (time = ? AND event_id < ?))", (end, time, time, event_id))

    def _shrink(self) -> None:
        """Remove the oldest beyond the limit, whatever Redis keeps: memory is bounded here."""
        if self.events > self._most:
            with self._turns.taken():
                last = self._database.execute("SELECT id FROM rows ORDER BY id DESC LIMIT 1 OFFSET ?", (self._most,)).fetchone()
            if last is not None:
                self._drop("id <= ?", last)

    def _drop(self, which: str, values: Sequence[Any]) -> None:
        while True:
            with self._writing() as database:
                ids = f"SELECT id FROM rows WHERE {which} LIMIT {CHUNK}"  # noqa: S608 - our own conditions
                doomed = database.execute(f"SELECT id, body FROM bodies WHERE id IN ({ids})", values).fetchall()  # noqa: S608 - the same
                _delete(database, doomed)
                self.events -= len(doomed)
            if len(doomed) < CHUNK:
                return


_SET_MARKS = "UPDATE rows SET state = ?, truth = ?, correct = ?, reviewed = ?, marked_wrong = ?, reviews = ? WHERE id = ?"


def _insert(database: sqlite3.Connection, chosen: Sequence[tuple[bytes, Recent]]) -> None:
    # In the order of ids: FTS5 writes what it has gathered whenever an id is smaller than the one before.
    placed = sorted(zip(_free_ids(database, [row for _, row in chosen]), chosen, strict=True), key=lambda pair: pair[0])
    _insert_many(database, "INSERT INTO rows", [columns(row_id, row) for row_id, (_, row) in placed])
    _insert_many(database, "INSERT INTO bodies", [(row_id, body) for row_id, (body, _) in placed])
    _insert_many(database, "INSERT INTO words(rowid, text)", [(i, spaced(row.prediction.text)) for i, (_, row) in placed])
    _insert_many(database, "INSERT INTO scores", [score for i, (_, row) in placed for score in scores(i, row.prediction)])


def _insert_many(database: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert all rows by one statement: each statement hands the interpreter to other threads, and waits to get it back."""
    for start in range(0, len(rows), STATEMENT_ROWS):
        part = rows[start : start + STATEMENT_ROWS]
        database.execute(f"{into} {_values(part)}", [value for row in part for value in row])


def _values(rows: Sequence[tuple[object, ...]]) -> str:
    return "VALUES " + ", ".join([f"({_places(rows[0])})"] * len(rows))


def _free_ids(database: sqlite3.Connection, rows: Sequence[Recent]) -> list[int]:
    """Return an id for each row: its own, or the next one that nobody has."""
    ids = [first_id(row.prediction.predicted_at, row.prediction.event_id) for row in rows]
    taken: set[int] = set()
    while True:
        asked = sorted(set(ids))
        taken |= {row_id for (row_id,) in database.execute(f"SELECT id FROM rows WHERE id IN ({_places(asked)})", asked)}  # noqa: S608 - places only
        given: set[int] = set()
        moved = False
        for index, row_id in enumerate(ids):
            free = row_id
            while free in taken or free in given:
                free += 1
            given.add(free)
            moved |= free != row_id
            ids[index] = free
        if not moved:
            return ids


def _mark(database: sqlite3.Connection, known: Sequence[tuple[int, Recent]]) -> None:
    database.executemany(_SET_MARKS, [_mark_columns(row.marks, row.prediction.label or "", row_id) for row_id, row in known])
    database.executemany("UPDATE rows SET arrived = ? WHERE id = ? AND arrived = 0", [(row.arrived, row_id) for row_id, row in known])


def _mark_columns(marks: Marks, label: str, row_id: int) -> tuple[object, ...]:
    correct = None if marks.truth is None else marks.truth == label
    return marks.state, marks.truth, correct, marks.reviewed, marks.marked_wrong, marks.packed_reviews, row_id


def _delete(database: sqlite3.Connection, doomed: Sequence[tuple[int, bytes]]) -> None:
    if not doomed:
        return
    predictions = [(row_id, _prediction(body)) for row_id, body in doomed]
    _insert_many(database, "INSERT INTO words(words, rowid, text)", [("delete", i, spaced(p.text)) for i, p in predictions])
    ranked = [row for i, p in predictions for row in scores(i, p)]
    for start in range(0, len(ranked), STATEMENT_ROWS):
        part = ranked[start : start + STATEMENT_ROWS]
        database.execute(f"WITH gone(k, s, i) AS ({_values(part)}) {_DELETE_SCORES}", [value for row in part for value in row])
    ids = [row_id for row_id, _ in doomed]
    database.execute(f"DELETE FROM rows WHERE id IN ({_places(ids)})", ids)  # noqa: S608 - places only
    database.execute(f"DELETE FROM bodies WHERE id IN ({_places(ids)})", ids)  # noqa: S608 - places only


_DELETE_SCORES = "DELETE FROM scores WHERE (key, score, id) IN gone"


def _known(database: sqlite3.Connection, event_ids: Sequence[str]) -> dict[str, int]:
    """Return the row ids of those events that are here."""
    found: dict[str, int] = {}
    for start in range(0, len(event_ids), CHUNK):
        part = event_ids[start : start + CHUNK]
        found.update(database.execute(f"SELECT event_id, id FROM rows WHERE event_id IN ({_places(part)})", part).fetchall())  # noqa: S608 - places only
    return found


def _places(values: Sequence[object] | dict[str, int] | tuple[object, ...]) -> str:
    return ", ".join("?" * len(values))
