"""The models of an audit: the replica of the whole log, and lines that it has dropped while predictions still name them."""

from __future__ import annotations

from collections.abc import Iterable

from online_model.models import TextModel
from online_model.replica import Replica
from schemas.log import AnyLogEntry, ReleaseEntry, RollbackEntry
from schemas.records import ModelVersion, Prediction, Served
from store.artifacts import ArtifactFolder
from store.lines import LineModel, ReleaseUnusable, build_line
from store.log_reader import ModelLogReader


class AuditedLines:
    """A task's lines along the log, each as long as a prediction names it.

    A predictor that loads a line goes on with the one before, which the log may drop meanwhile.

    Args:
        replica: before the first entry.
        predictions: all that will be repeated.
    """

    def __init__(self, replica: Replica, predictions: Iterable[Prediction], reader: ModelLogReader, artifacts: ArtifactFolder) -> None:
        self.replica = replica
        self.unusable: list[str] = []
        self._reader = reader
        self._artifacts = artifacts
        self._dropped: dict[str, LineModel] = {}
        self._needed: dict[str, int] = {}
        for prediction in predictions:
            self._needed[prediction.model.line] = max(self._needed.get(prediction.model.line, 0), prediction.model.seq)

    def apply(self, entry: AnyLogEntry) -> None:
        """Apply the next entry to all lines.

        Raises:
            LogGap: if one is missing before it.
            KafkaUnavailable: if the log cannot be read.
        """
        held = self.replica.lines.models()
        self.replica.apply(entry, brought=self._brought(entry))
        for line in self._dropped.values():
            line.apply(entry)
        for name, model in held.items():
            if not self.replica.holds(name):
                self._dropped[name] = LineModel(entry.task, entry.seq, model)
        self._dropped = {name: line for name, line in self._dropped.items() if self._needed.get(name, 0) > entry.seq}

    def predict(self, version: ModelVersion, text: str, top: int) -> Served | None:
        """Return what the line that is named says now; None if there is no such line."""
        if self.replica.holds(version.line):
            return self.replica.predict_as(version.line, text, top)
        line = self._dropped.get(version.line)
        if line is None:
            return None
        proba = line.model.predict_top(text, top)
        model = ModelVersion(line=version.line, seq=line.seq)
        return Served(label=next(iter(proba), None), proba=proba, classes=len(line.model.classes), model=model)

    def _brought(self, entry: AnyLogEntry) -> TextModel | None:
        """Return the model of a line that comes in; None if it is held, or cannot be had."""
        if not isinstance(entry, ReleaseEntry | RollbackEntry) or self.replica.holds(entry.line):
            return None
        if (line := self._dropped.pop(entry.line, None)) is not None:
            return line.model
        try:
            return build_line(self._reader, self._artifacts, entry.origin, new=self.replica, up_to_seq=entry.seq - 1)
        except ReleaseUnusable as error:
            self.unusable.append(f"line {entry.line}, which comes in at seq {entry.seq}, cannot be made: {error}")
            return None
