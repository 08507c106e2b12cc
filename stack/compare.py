"""Compares two installations that answered the same events: what differs, and whether the same model said it. Pure.

A model is a function of the entries of its log that change it. Two logs give the same model as far as those entries are the same, in the
same order; that two installations learned labels in another order is no fault of either, that the same model says two things is one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from schemas.log import AnyLogEntry, LabelEntry, RefusalEntry, ReleaseEntry, RollbackEntry, SnapshotEntry, VerdictEntry
from schemas.records import DeadLetter, Prediction

SHOWN = 5


class Said(NamedTuple):
    """A prediction, as far as it is compared."""

    label: str | None
    proba: tuple[tuple[str, float], ...]
    classes: int
    line: str
    seq: int


Answer = tuple[str, int]
"""An event's id, and which of its records: one that was sent twice is answered twice."""


class Answers:
    """The predictions of one installation, in the order of their topic."""

    def __init__(self) -> None:
        self.said: dict[Answer, Said] = {}
        self._counts: Counter[str] = Counter()

    def add(self, prediction: Prediction) -> None:
        """Note a prediction."""
        number = self._counts[prediction.event_id]
        self._counts[prediction.event_id] += 1
        version = prediction.model
        said = Said(prediction.label, tuple(prediction.proba.items()), prediction.classes, version.line, version.seq)
        self.said[prediction.event_id, number] = said


class Step(NamedTuple):
    """An entry of a log that changes models or what is scored: its seq, what it is, and the fingerprint of the log up to it."""

    seq: int
    what: str
    event_id: str | None
    label: str | None
    fingerprint: bytes


class Log:
    """The entries of a log that change something, and the fingerprint of all of them up to each seq."""

    def __init__(self, entries: Iterable[AnyLogEntry]) -> None:
        """Read the log once."""
        self.steps: list[Step] = []
        self.last_seq = 0
        self._at: list[bytes] = [hashlib.sha256().digest()]
        for entry in entries:
            if entry.seq != len(self._at):
                # Without its beginning it is nobody's log but its own.
                self._at += [hashlib.sha256(f"{id(self)} to {entry.seq}".encode()).digest()] * (entry.seq - len(self._at))
            self._add(entry)
        self.last_seq = len(self._at) - 1

    def _add(self, entry: AnyLogEntry) -> None:
        before = self._at[-1]
        changed = changes(entry)
        if changed is None:
            self._at.append(before)
            return
        after = hashlib.sha256(before + msgspec.json.encode(changed)).digest()
        self._at.append(after)
        event_id, label = getattr(entry, "event_id", None), getattr(entry, "label", None)
        self.steps.append(Step(entry.seq, kind_of(entry), event_id, label, after))

    def fingerprint(self, seq: int) -> bytes | None:
        """Return that of the entries up to `seq` that change something, None if the log does not reach so far."""
        return self._at[seq] if 0 <= seq < len(self._at) else None


def kind_of(entry: AnyLogEntry) -> str:
    """Return the `kind` of an entry."""
    return str(entry.__struct_config__.tag)


def changes(entry: AnyLogEntry) -> list[object] | None:
    """Return what of an entry decides what models say from there on; None if nothing does.

    When it was written, what had been served, and where the snapshots lie, may differ.
    """
    match entry:
        case SnapshotEntry() | RefusalEntry() | VerdictEntry():
            return None
        case LabelEntry():
            return ["label", entry.event_id, entry.text, entry.label, entry.weight, entry.corrects, entry.meta]
        case ReleaseEntry() | RollbackEntry():
            artifact = entry.origin.artifact
            mode = [entry.mode, entry.share] if isinstance(entry, ReleaseEntry) else []
            return [kind_of(entry), entry.line, artifact.sha256 if artifact else None, entry.origin.cut_seq, *mode]
        case _:
            return [kind_of(entry), entry.line]


class LogDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Where two logs part: the entry of each, None where a log has ended."""

    first: str | None
    second: str | None


class LogsCompared(msgspec.Struct, frozen=True, kw_only=True):
    """Two logs of a task.

    Attributes:
        entries: seq of the last entry of each.
        changing: how many of them change a model.
        same: so many of these are the same at the beginning.
        difference: the first that are not, if both go so far.
    """

    entries: tuple[int, int]
    changing: tuple[int, int]
    same: int
    difference: LogDifference | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy of what an installation served, all labels and the newest ones; None if no label has been scored."""

    labels: int = 0
    accuracy: float | None = None
    window_accuracy: float | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two installations say of the same events of a task.

    Attributes:
        task: the task.
        both: event records that both have answered.
        only: … that only the first, only the second has.
        same_label: of `both`, those with the same label.
        same_model: of `both`, those that were answered by the same line after the same entries of the log.
        same_seq: of these, those whose seq is the same number as well; entries that change nothing are counted by seq, too.
        differing: of `same_model`, those with another label, other probabilities or another number of classes.
        examples: event ids of some of `differing`.
        label_examples: event ids of some with different labels of different models.
        logs: how far the logs are the same.
        standing: accuracy of each.
    """

    task: str
    both: int
    only: tuple[int, int]
    same_label: int
    same_model: int
    same_seq: int
    differing: int
    examples: list[str]
    label_examples: list[str]
    logs: LogsCompared
    standing: tuple[Standing, Standing]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Records that were refused by both, and by only the first or second; the same bytes for the same reason are the same."""

    both: int
    only: tuple[int, int]


def compare(
    task: str, answers: tuple[Answers, Answers], logs: tuple[Log, Log], standing: tuple[Standing, Standing] = (Standing(), Standing())
) -> Comparison:
    """Return the comparison of two installations."""
    first, second = (one.said for one in answers)
    both = [answer for answer in first if answer in second]
    differing: list[str] = []
    others: list[str] = []
    same_label = same_model = same_seq = 0
    for answer in both:
        one, other = first[answer], second[answer]
        same_label += one.label == other.label
        if _same_model(one, other, logs):
            same_model += 1
            same_seq += one.seq == other.seq
            if one[:3] != other[:3]:
                differing.append(answer[0])
        elif one.label != other.label:
            others.append(answer[0])
    return Comparison(
        task=task,
        both=len(both),
        only=(len(first) - len(both), len(second) - len(both)),
        same_label=same_label,
        same_model=same_model,
        same_seq=same_seq,
        differing=len(differing),
        examples=differing[:SHOWN],
        label_examples=others[:SHOWN],
        logs=compare_logs(*logs),
        standing=standing,
    )


def _same_model(one: Said, other: Said, logs: tuple[Log, Log]) -> bool:
    if one.line != other.line:
        return False
    fingerprint = logs[0].fingerprint(one.seq)
    return fingerprint is not None and fingerprint == logs[1].fingerprint(other.seq)


def compare_logs(first: Log, second: Log) -> LogsCompared:
    """Return how far two logs are the same."""
    same = _same_steps(first.steps, second.steps)
    both_go_on = same < min(len(first.steps), len(second.steps))
    return LogsCompared(
        entries=(first.last_seq, second.last_seq),
        changing=(len(first.steps), len(second.steps)),
        same=same,
        difference=LogDifference(first=_shown(first.steps[same]), second=_shown(second.steps[same])) if both_go_on else None,
    )


def _same_steps(first: Sequence[Step], second: Sequence[Step]) -> int:
    """Return how many steps are the same at the beginning: the fingerprints are the same up to there, and never again."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[middle - 1].fingerprint == second[middle - 1].fingerprint:
            low = middle
        else:
            high = middle - 1
    return low


def _shown(step: Step) -> str:
    of = f" {step.label!r} of event {step.event_id}" if step.event_id is not None else ""
    return f"seq {step.seq}: {step.what}{of}"


def compare_refused(first: Iterable[DeadLetter], second: Iterable[DeadLetter]) -> Refused:
    """Return how many records only one of two installations refused."""
    one, other = (Counter((letter.sha256, letter.length, letter.reason) for letter in letters) for letters in (first, second))
    return Refused(both=(one & other).total(), only=((one - other).total(), (other - one).total()))
