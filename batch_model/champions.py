"""The champion as it stood at an entry of the log, made from what its line began with and the labels after that."""

from __future__ import annotations

from batch_model.data import DataError
from online_model.models import OwnModel, TextModel
from online_model.replica import Replica
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.lines import ReleaseUnusable, build_line
from store.model_history import KnownLine, ModelHistory
from store.model_log import ModelLogReader, ModelUnavailable, load_replica


class Champions:
    """The lines of a task that served, rebuilt at any entry.

    Attributes:
        reader: of the model log.
        artifacts: where releases and snapshots lie.
        history: which line served when.
    """

    def __init__(self, settings: Settings, task: str) -> None:
        """Read the history.

        Raises:
            KafkaUnavailable, ModelUnavailable: if the log cannot be read.
        """
        self.settings, self.task = settings, task
        self.reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
        self.artifacts = ArtifactFolder(settings.artifacts)
        self.history = ModelHistory.read(self.reader, task)

    @property
    def line(self) -> KnownLine:
        """The line that serves now."""
        known = self.history.line(self.history.champion)
        if known is None:
            raise AssertionError(f"the line {self.history.champion} serves and never came in")
        return known

    def at(self, seq: int) -> TextModel:
        """Return the model of the line that serves now, as it was after entry `seq`.

        Raises:
            DataError: if it cannot be made any more.
            KafkaUnavailable, ModelUnavailable: if the log cannot be read.
        """
        return self._built(self.line, seq)

    def that_served(self, seq: int) -> OwnModel | None:
        """Return a champion that has learned nothing after entry `seq`, as it was then; None if none can be made.

        It is the line that serves now, or, if that one began later, the one that served then.
        """
        line = self.line if self.line.origin.cut_seq <= seq else self.history.line(self.history.champion_at(seq))
        if line is None or line.origin.cut_seq > seq:
            return None
        try:
            model = self._built(line, seq)
        except DataError:
            return None
        return model if isinstance(model, OwnModel) else None

    def _built(self, line: KnownLine, seq: int) -> TextModel:
        new = Replica.configured(self.settings, self.task)
        try:
            return build_line(self.reader, self.artifacts, line.line, line.origin, new=new, up_to_seq=seq)
        except ReleaseUnusable as error:
            reason = error.reason
        # The log may begin later than the line; a snapshot between may hold its model.
        try:
            replica = load_replica(self.reader, self.artifacts, new, up_to_seq=seq)
        except ModelUnavailable as error:
            raise DataError(f"the champion {line.line} cannot be rebuilt as of entry {seq}: {reason}; {error}") from error
        if (replica.line, replica.seq) != (line.line, seq):
            raise DataError(f"the champion {line.line} cannot be rebuilt as of entry {seq}: {reason}; no snapshot helps")
        return replica.model
