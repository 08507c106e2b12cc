"""Training data: what was learned, with duplicates out and corrections applied, windowed, split by time, and its fingerprint. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from batch_model.rows import LabelledText
from schemas.manifest import DataSpec


class DataError(Exception):
    """There is nothing that a model could be trained on; whoever asked must act."""


class Taught(msgspec.Struct, frozen=True, gc=False):
    """A label as it was learned.

    Attributes:
        seq: its entry in the model log, or its place in the file, from 1 on.
        event: the event that it is of.
        row: text, label, weight and time.
        correction: whether another label of this event was learned before.
    """

    seq: int
    event: str
    row: LabelledText
    correction: bool = False


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the rows are used: the newest `labels`, and of those what is less than `ms` older than the newest; 0 for no limit."""

    labels: int = 0
    ms: int = 0


class Dataset(msgspec.Struct, frozen=True):
    """Rows to train on, in the order in which their labels were learned.

    Attributes:
        rows: the rows.
        seqs: for each the entry of the model log, or its place in the file.
        spec: what they are, and their fingerprint.
    """

    rows: list[LabelledText]
    seqs: list[int]
    spec: DataSpec

    def newest(self, share: float) -> int:
        """Return where the newest `share` of the rows begins, as an index; at least one row is on either side.

        Raises:
            DataError: with fewer than two rows.
        """
        if len(self.rows) < 2:
            raise DataError(f"{len(self.rows)} labels are too few to train and to validate on")
        return min(max(1, len(self.rows) - max(1, round(share * len(self.rows)))), len(self.rows) - 1)


def standing(taught: Iterable[Taught]) -> list[Taught]:
    """Return the label that stands for each event, in the order in which these were learned.

    A label like the one that stands is a duplicate: it is left out. A different one takes its place, where it was learned itself.
    An id that comes again with another text is another event: the first had been forgotten.

    >>> text = LabelledText("hi", "a")
    >>> later = msgspec.structs.replace(text, label="b")
    >>> [one.row.label for one in standing([Taught(1, "e", text), Taught(2, "e", text), Taught(3, "f", text), Taught(4, "e", later)])]
    ['a', 'b']
    """
    found: dict[bytes, Taught] = {}
    for one in taught:
        # A digest: keeping every text twice would double the memory.
        key = hashlib.sha256(b"\0".join((one.event.encode(), one.row.text.encode()))).digest()
        before = found.get(key)
        if before is not None and before.row.label == one.row.label:
            continue
        if before is not None:
            del found[key]  # so that it moves to the end of the order
        found[key] = one
    return list(found.values())


def windowed(taught: Sequence[Taught], window: Window) -> Sequence[Taught]:
    """Return what of the labels lies in the window."""
    newest = taught[-window.labels :] if window.labels else taught
    if not window.ms or not newest:
        return newest
    last = max(one.row.time for one in newest)
    return [one for one in newest if one.row.time > last - window.ms]


def dataset(taught: Iterable[Taught], *, source: str, window: Window, first_seq: int = 0, cut_seq: int = 0) -> Dataset:
    """Return the rows to train on.

    Args:
        taught: every label, in the order in which they were learned.
        source: `log`, or the name of a file.
        window: which of them are used.
        first_seq: the first entry of the log that was looked at.
        cut_seq: the last one.
    """
    used = windowed(standing(taught), window)
    rows = [one.row for one in used]
    spec = DataSpec(
        source=source,
        first_seq=first_seq,
        cut_seq=cut_seq,
        window_labels=window.labels or None,
        window_ms=window.ms or None,
        rows=len(rows),
        classes=len({row.label for row in rows}),
        fingerprint=fingerprint(rows),
    )
    return Dataset(rows, [one.seq for one in used], spec)


def lines(rows: Iterable[LabelledText]) -> Iterator[bytes]:
    """Yield the rows as JSON Lines: one spelling for the same rows, and a file that a refresh can read."""
    for row in rows:
        yield msgspec.json.encode({"text": row.text, "label": row.label, "weight": float(row.weight), "ts": row.time}) + b"\n"


def fingerprint(rows: Iterable[LabelledText]) -> str:
    """Return the SHA-256 of the rows in their order: that of the file which holds `lines(rows)` and nothing else."""
    digest = hashlib.sha256()
    for line in lines(rows):
        digest.update(line)
    return digest.hexdigest()


def held_out(labels: int, *, least: int, share: float) -> int:
    """Return how many of the newest labels are held out of the training, to compare champion and challenger.

    Raises:
        DataError: if what is left would be fewer than are held out at the least.

    >>> held_out(10_000, least=200, share=0.1), held_out(500, least=200, share=0.1)
    (1000, 200)
    """
    wanted = max(least, round(labels * share))
    if labels - wanted < least:
        raise DataError(
            f"{labels} labels are too few for a refresh: {wanted} of them would be held out to compare champion and challenger, "
            f"and at least {least} are needed to train on (MILLRACE_REFRESH_GATE_LEAST_LABELS)"
        )
    return wanted
