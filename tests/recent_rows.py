"""Predictions and labels for the tests of the recent index, and the same filters done naively."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.parsing import encode
from schemas.records import ModelVersion, Position, Prediction
from store.reader import confidence
from store.recent.places import Place
from store.recent.queries import Filter, page
from store.recent.rows import Recent
from store.recent.table import RecentTable


def prediction(
    event_id: str,
    at: int,
    *,
    text: str = "hi",
    proba: dict[str, float] | None = None,
    line: str = "base",
    task: str = "default",
) -> Prediction:
    """A prediction whose label is the first class of `proba`."""
    proba = {"a": 0.9, "z": 0.1} if proba is None else proba
    return Prediction(
        event_id=event_id,
        task=task,
        text=text,
        meta={},
        label=next(iter(proba), None),
        proba=proba,
        classes=len(proba),
        model=ModelVersion(line=line, seq=at),
        event_ts=at,
        predicted_at=at,
        source=Position(partition=0, offset=at),
    )


def add(table: RecentTable, rows: Sequence[Recent]) -> list[Recent]:
    return table.add([encode(row.prediction) for row in rows], rows)


def is_wanted(row: Recent, wanted: Filter, words: Sequence[str] = ()) -> bool:
    """The filter, said plainly; `words` are those that the text must hold."""
    p, least, most = row.prediction, wanted.min_confidence, wanted.max_confidence
    return (
        (wanted.label is None or (p.label or "") == wanted.label)
        and (least is None or confidence(p) >= least)
        and (most is None or confidence(p) <= most)
        and (wanted.line is None or p.model.line == wanted.line)
        and (wanted.since is None or p.predicted_at >= wanted.since)
        and (wanted.until is None or p.predicted_at < wanted.until)
        and (wanted.reviewed is None or row.marks.reviewed == wanted.reviewed)
        and (wanted.state is None or row.marks.state == wanted.state)
        and (wanted.rank_by is None or wanted.rank_by in p.proba)
        and all(word in p.text.split() for word in words)
    )


def all_pages(table: RecentTable, wanted: Filter, limit: int) -> list[Recent]:
    """The rows of all pages, one after the other."""
    rows: list[Recent] = []
    after: Place | None = None
    while True:
        found = page(table, wanted, limit=limit, after=after)
        rows += found.rows
        if found.next is None:
            return rows
        assert len(found.rows) == limit
        after = Place.parse(found.next.text())
