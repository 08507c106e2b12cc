"""Training data from the model log: its labels to an entry, the cut that holds labels out for the gate, and bringing a data set back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from batch_model.data import DataError, Dataset, Taught, Window, dataset, held_out
from batch_model.rows import LabelledText
from schemas.log import AnyLogEntry, LabelEntry
from schemas.manifest import DataSpec
from schemas.refresh_settings import RefreshSettings
from store.model_log import ModelLogReader

SOURCE = "log"
_TOLD_EVERY = 1000

Progress = Callable[[int], None]
"""Is told how many labels were read so far."""


class DataGone(DataError):
    """The log does not hold a data set any more: its retention has passed."""


class LogLabels(msgspec.Struct, frozen=True):
    """The labels of one task's log.

    Attributes:
        task: the task.
        first_seq: the log's first entry that is there.
        last_seq: the last one that was read.
        taught: its labels, in order.
    """

    task: str
    first_seq: int
    last_seq: int
    taught: list[Taught]

    def up_to(self, seq: int) -> list[Taught]:
        """Return the labels of the entries to `seq`."""
        return [one for one in self.taught if one.seq <= seq]

    def after(self, seq: int) -> list[Taught]:
        """Return the labels of the entries after `seq`."""
        return [one for one in self.taught if one.seq > seq]


def read_labels(reader: ModelLogReader, task: str, *, up_to_seq: int | None = None, progress: Progress = lambda _: None) -> LogLabels:
    """Return the labels of a task's log, to its end or to an entry.

    Raises:
        KafkaUnavailable: if the log cannot be read.
        ModelUnavailable: if it holds something unreadable.
    """
    first = last = 0
    taught: list[Taught] = []
    for entry in reader.entries(task):
        if up_to_seq is not None and entry.seq > up_to_seq:
            break
        first, last = first or entry.seq, entry.seq
        if (one := _taught(entry)) is not None:
            taught.append(one)
            if len(taught) % _TOLD_EVERY == 0:
                progress(len(taught))
    return LogLabels(task, first, last, taught)


def _taught(entry: AnyLogEntry) -> Taught | None:
    if not isinstance(entry, LabelEntry):
        return None
    row = LabelledText(entry.text, entry.label, entry.weight, entry.time)
    return Taught(entry.seq, entry.event_id, row, entry.corrects is not None)


def choose_cut(labels: LogLabels, settings: RefreshSettings) -> int:
    """Return the entry to which the training reads: the newest labels, which come after it, are held out for the gate.

    Raises:
        DataError: if there are too few labels.
    """
    held = held_out(len(labels.taught), least=settings.gate_least_labels, share=settings.gate_share)
    return labels.taught[-held].seq - 1


def from_log(labels: LogLabels, cut_seq: int, window: Window) -> Dataset:
    """Return what is trained on: the labels to the cut.

    Raises:
        DataError: if they name fewer than two classes.
    """
    data = dataset(labels.up_to(cut_seq), source=SOURCE, window=window, first_seq=labels.first_seq, cut_seq=cut_seq)
    if data.spec.classes < 2:
        raise DataError(f"the {data.spec.rows} labels to train on name {data.spec.classes} classes: at least two are needed")
    return data


def given_again(labels: LogLabels, cut_seq: int, fingerprint: str, window: Window) -> Dataset | None:
    """Return the data of a refresh that was killed, None if the log does not give them any more: it was replaced, or its start deleted."""
    if cut_seq >= labels.last_seq:
        return None
    try:
        data = from_log(labels, cut_seq, window)
    except DataError:
        return None
    return data if data.spec.fingerprint == fingerprint else None


def rebuild(reader: ModelLogReader, task: str, spec: DataSpec, *, progress: Progress = lambda _: None) -> Sequence[LabelledText]:
    """Return the rows that a release was trained on, read from the log again; their fingerprint is that of `spec`.

    Raises:
        DataGone: if the log's start was deleted since then.
        DataError: if the data came from a file, or the log gives other rows though it is whole.
        KafkaUnavailable, ModelUnavailable: if the log cannot be read.
    """
    if spec.source != SOURCE:
        raise DataError(f"its data came from the file {spec.source}, not from the log: SHA-256 of its rows {spec.fingerprint}")
    labels = read_labels(reader, task, up_to_seq=spec.cut_seq, progress=progress)
    known = [one for one in labels.taught if one.seq >= spec.first_seq]
    window = Window(labels=spec.window_labels or 0, ms=spec.window_ms or 0)
    data = dataset(known, source=SOURCE, window=window, first_seq=spec.first_seq, cut_seq=spec.cut_seq)
    if data.spec.fingerprint == spec.fingerprint:
        return data.rows
    if not labels.first_seq or labels.first_seq > spec.first_seq:
        there = f"begins with entry {labels.first_seq}" if labels.first_seq else f"holds nothing to entry {spec.cut_seq}"
        raise DataGone(f"retention has passed: the data began with entry {spec.first_seq} of the log, which now {there}")
    raise DataError(f"the log gives other rows: SHA-256 {data.spec.fingerprint}, of the release {spec.fingerprint}")
