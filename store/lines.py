"""The model of a line from what the line began with and the log: an artifact, checked, and the labels after it."""

from __future__ import annotations

from online_model.lines import FIRST_LINE
from online_model.models import TextModel, build
from online_model.replica import Replica, SnapshotError
from online_model.specification import RIVER
from schemas.log import AnyLogEntry, Artifact, LabelEntry, Origin
from store.artifacts import ArtifactCorrupt, ArtifactFolder, ArtifactMissing, InvalidAddress
from store.log_reader import ModelLogReader, ModelUnavailable

__all__ = ["LineModel", "ReleaseUnusable", "build_line", "open_line"]


class ReleaseUnusable(Exception):
    """A line's model cannot be made; the reason says why. What serves goes on serving."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LineModel:
    """The model of one line as it was after entry `seq` of its task's log, on its way along the log.

    Attributes:
        task: the task.
        seq: number of the last entry that it has seen.
        model: the classifier.
    """

    def __init__(self, task: str, seq: int, model: TextModel) -> None:
        self.task = task
        self.seq = seq
        self.model = model

    def apply(self, entry: AnyLogEntry) -> bool:
        """Learn the next entry of the log, if it is a label. False if it was seen before.

        Raises:
            ReleaseUnusable: if entries are missing before it.
        """
        if entry.seq <= self.seq:
            return False
        if entry.seq > self.seq + 1:
            raise ReleaseUnusable(f"the model log goes on with entry {entry.seq}; the line needs it from {self.seq + 1} on")
        if isinstance(entry, LabelEntry):
            self.model.learn_one(entry.text, entry.label, entry.weight)
        self.seq = entry.seq
        return True

    def catch_up(self, reader: ModelLogReader, *, up_to_seq: int | None = None) -> None:
        """Learn the committed log, to its end as it is at the call or to entry `up_to_seq`.

        Raises:
            ReleaseUnusable: if entries are missing.
            KafkaUnavailable: if the log cannot be read.
        """
        for entry in reader.entries(self.task, after_seq=self.seq):
            if up_to_seq is not None and entry.seq > up_to_seq:
                break
            self.apply(entry)


def open_line(artifacts: ArtifactFolder, line: str, origin: Origin, *, task: str, specification: str) -> LineModel:
    """Return the model that a line began with, as it was after entry `origin.cut_seq`.

    Raises:
        ReleaseUnusable: if the artifact is gone, damaged, or no such model of that line of that task.
        OSError: if artifact storage does not answer: that says nothing about the line.
    """
    if origin.artifact is None:
        if line != FIRST_LINE:
            raise ReleaseUnusable(f"{FIRST_LINE} alone began without an artifact")
        if origin.cut_seq != 0:
            raise ReleaseUnusable(f"it began at entry {origin.cut_seq} without an artifact")
        return LineModel(task, 0, build(specification))
    if specification.startswith(RIVER):
        raise ReleaseUnusable(f"the model is {specification}: no artifact holds one of those")
    held = _opened(artifacts, origin.artifact, specification)
    if (held.task, held.seq) != (task, origin.cut_seq):
        raise ReleaseUnusable(
            f"artifact {origin.artifact.address} holds task {held.task} at seq {held.seq}, not {task} at {origin.cut_seq}"
        )
    if held.line != line:
        # A prediction names the line and the seq: under one name there is one model.
        raise ReleaseUnusable(f"artifact {origin.artifact.address} holds line {held.line}, not {line}")
    return LineModel(task, held.seq, held.model)


def _opened(artifacts: ArtifactFolder, artifact: Artifact, specification: str) -> Replica:
    try:
        data = artifacts.get(artifact.address, artifact.sha256)
    except (ArtifactMissing, ArtifactCorrupt, InvalidAddress) as error:
        raise ReleaseUnusable(str(error)) from error
    try:
        held = Replica.from_snapshot(data, model=specification)
    except SnapshotError as error:
        raise ReleaseUnusable(f"artifact {artifact.address}: {error}") from error
    if held.watched:
        raise ReleaseUnusable(f"artifact {artifact.address} holds more than one line")
    return held


def build_line(reader: ModelLogReader, artifacts: ArtifactFolder, line: str, origin: Origin, *, new: Replica, up_to_seq: int) -> TextModel:
    """Return the model of a line as it is after entry `up_to_seq`: what it began with, then the labels of the entries after that.

    Args:
        new: a replica of the task as it is configured; it says which task and which specification, and is left as it is.

    Raises:
        ReleaseUnusable: if the artifact or an entry of the log is gone, damaged, or of something else.
        ModelUnavailable: if the committed log ends before `up_to_seq`.
        KafkaUnavailable: if the log cannot be read.
    """
    if origin.cut_seq > up_to_seq:
        raise ReleaseUnusable(f"it began after entry {origin.cut_seq}, not before {up_to_seq}")
    built = open_line(artifacts, line, origin, task=new.task, specification=new.model.specification)
    if built.seq < up_to_seq:
        built.catch_up(reader, up_to_seq=up_to_seq)
    if built.seq != up_to_seq:
        raise ModelUnavailable(f"task {new.task}: the model log ends at entry {built.seq}, the line is wanted at {up_to_seq}")
    return built.model
