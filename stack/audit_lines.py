"""The lines of an audit: the replica's, and those that are held no more but that later predictions still name."""

from __future__ import annotations

from online_model.models import TextModel
from online_model.replica import Replica
from schemas.log import AnyLogEntry, ChangeEntry, LabelEntry, ReleaseEntry, RollbackEntry
from schemas.records import ModelVersion, Served
from store.artifacts import ArtifactFolder
from store.lines import ReleaseUnusable, build_line
from store.log_reader import ModelLogReader


class AuditLines:
    """A replica, and beside it every line that it has let go, for as long as predictions name it.

    A predictor goes on serving the line that it has until it has caught up with the one that comes in, so predictions name lines
    at entries at which the log says that they serve no more.

    Args:
        replica: the replica before the first entry.
        last_named: the last seq at which predictions name each line.
    """

    def __init__(self, replica: Replica, reader: ModelLogReader, artifacts: ArtifactFolder, last_named: dict[str, int]) -> None:
        self.replica = replica
        self._reader = reader
        self._artifacts = artifacts
        self._last_named = last_named
        self._let_go: dict[str, TextModel] = {}

    def apply(self, entry: AnyLogEntry) -> str | None:
        """Apply the next entry; return what is wrong with a line that it brings in, if its model cannot be had."""
        held = self.replica.lines.models()
        problem, brought = self._brought(entry)
        self.replica.apply(entry, brought=brought)
        if isinstance(entry, ChangeEntry):
            self._let_go |= {name: model for name, model in held.items() if not self.replica.holds(name)}
            self._let_go = {name: model for name, model in self._let_go.items() if not self.replica.holds(name)}
        elif isinstance(entry, LabelEntry):
            for model in self._let_go.values():
                model.learn_one(entry.text, entry.label, entry.weight)
        if self._let_go:
            self._let_go = {name: model for name, model in self._let_go.items() if self._last_named.get(name, 0) >= entry.seq}
        return problem

    def predict(self, line: str, text: str, top: int) -> Served | None:
        """Return what a line predicts at this seq; None if there is no such line."""
        if self.replica.holds(line):
            return self.replica.predict_as(line, text, top)
        model = self._let_go.get(line)
        if model is None:
            return None
        proba = model.predict_top(text, top)
        version = ModelVersion(line=line, seq=self.replica.seq)
        return Served(label=next(iter(proba), None), proba=proba, classes=len(model.classes), model=version)

    def _brought(self, entry: AnyLogEntry) -> tuple[str | None, TextModel | None]:
        if not isinstance(entry, ReleaseEntry | RollbackEntry) or self.replica.holds(entry.line):
            return None, None
        try:
            seq = self.replica.seq
            return None, build_line(self._reader, self._artifacts, entry.line, entry.origin, new=self.replica, up_to_seq=seq)
        except ReleaseUnusable as error:
            return f"line {entry.line}, which came in with entry {entry.seq}, cannot be had: {error}", None
