"""A replica: the model of one task as a function of the model log. The one step function of predictor, learner, API and tests."""

from __future__ import annotations

import msgspec

from online_model import replica_storage, snapshots
from online_model.arms import arm_of
from online_model.characters import UNICODE
from online_model.drift import DriftMonitor
from online_model.explanation import Explanation
from online_model.lines import Lines, Watched
from online_model.models import TextModel, build
from online_model.prequential import Prequential, scored, truth_in
from online_model.snapshots import SnapshotError
from online_model.specification import OWN
from schemas.log import AnyLogEntry, ChangeEntry, LabelEntry, Origin, VerdictEntry
from schemas.records import ModelVersion, Role, Served, Trial
from schemas.settings import DriftDetector, Settings

__all__ = ["LogGap", "Replica", "SnapshotError"]


class LogGap(Exception):
    """An entry of the log is missing: whoever feeds the replica must go back to `expected`."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"the model log goes on with entry {got}, expected {expected}")
        self.expected = expected
        self.got = got


class Replica:
    """The models of one task after the first `seq` entries of its log: the line that serves, and those that are watched.

    Attributes:
        task: the task.
        seq: number of the last entry applied.
        updated_at: time of the last label applied, epoch ms, 0 for none.
        lines: what serves and what is watched.
        quality: the prequential evaluation of what was served.
        drift: watches its errors.

    Args:
        model: the model's specification (see `online_model.specification`); SpecificationError if it is wrong.
        memory_mib: memory of the own engine where the specification does not say it.
        quality_window: labels in the sliding window of the scores.
        drift_detector: what watches the errors.
    """

    def __init__(
        self, task: str, *, model: str = OWN, memory_mib: int = 32, quality_window: int = 1000, drift_detector: DriftDetector = "adwin"
    ) -> None:
        self.task = task
        self.seq = 0
        self.updated_at = 0
        self.lines = Lines(build(model, memory_mib=memory_mib))
        self.quality = Prequential(quality_window)
        self.drift = DriftMonitor(drift_detector)

    @property
    def line(self) -> str:
        """Name of the line that serves here: the champion, or as long as that is missing the one that served before."""
        return self.lines.line

    @line.setter
    def line(self, name: str) -> None:
        self.lines.line = name

    @property
    def model(self) -> TextModel:
        """The classifier of the line that serves here."""
        return self.lines.model

    @model.setter
    def model(self, model: TextModel) -> None:
        self.lines.model = model

    @property
    def champion(self) -> str:
        """Name of the line that serves, as the log says."""
        return self.lines.champion

    @property
    def watched(self) -> dict[str, Watched]:
        """The watched lines that are held, by name."""
        return self.lines.watched

    @property
    def roles(self) -> dict[str, Role]:
        """The roles of all watched lines, held or not, by name."""
        return self.lines.roles

    @property
    def missing(self) -> frozenset[str]:
        """Names of the lines that the log says are served or watched, and whose model this replica was not given."""
        return self.lines.missing

    def holds(self, line: str) -> bool:
        """Say whether the line's model is held."""
        return self.lines.holds(line)

    def origin_of(self, line: str) -> Origin:
        """Return what a line that is held began with; KeyError if it is not."""
        return self.lines.origin_of(line)

    def trials(self) -> list[Trial]:
        """Return how the watched lines that are held compare with the champion, by name."""
        return [self.watched[name].trial for name in sorted(self.watched)]

    @classmethod
    def configured(cls, settings: Settings, task: str) -> Replica:
        """Return the replica of a task before the first entry of its log."""
        return cls(
            task,
            model=settings.model,
            memory_mib=settings.model_memory_mib,
            quality_window=settings.quality_window,
            drift_detector=settings.drift_detector,
        )

    def apply(self, entry: AnyLogEntry, *, brought: TextModel | None = None) -> bool:
        """Apply the next entry of the log. False if it was applied before.

        A label scores the served prediction, compares the watched lines with the champion, and is learned by all, in that order.
        A verdict `wrong` scores the served prediction, and teaches nothing.

        Args:
            brought: the model, as it is at this entry, of a line that the entry brings in and that is not held; without it the line
                is missing.

        Raises:
            LogGap: if entries are missing before it.
            ValueError: if it belongs to another task.
        """
        if entry.task != self.task:
            raise ValueError(f"entry of task {entry.task!r} for the replica of {self.task!r}")
        if entry.seq <= self.seq:
            return False
        if entry.seq > self.seq + 1:
            raise LogGap(self.seq + 1, entry.seq)
        if isinstance(entry, LabelEntry):
            self._score(entry)
            self.lines.compare(entry)
            self.lines.learn(entry)
            self.updated_at = entry.time
        elif isinstance(entry, VerdictEntry):
            self._score(entry)
            self.lines.count_wrong(entry)
        elif isinstance(entry, ChangeEntry):
            self.lines.change(entry, brought)
        self.seq = entry.seq
        return True

    def _score(self, entry: LabelEntry | VerdictEntry) -> None:
        if (served := scored(entry)) is not None:
            result = self.quality.add(truth_in(entry), served, entry.weight)
            self.drift.add(error=not result.correct, seq=entry.seq)

    def predict(self, text: str, *, top: int, event_id: str = "") -> Served:
        """Return the prediction for `text` with its `top` most probable classes.

        Where lines serve a share of the events, the event's id decides which serves this one; without an id the champion does.
        """
        if not self.watched or not event_id:
            return self._served(self.line, self.model, text, top)
        shares = [(trial.line, trial.share) for trial in self.trials() if trial.role == "split"]
        return self.predict_as((arm_of(event_id, shares) if shares else None) or self.line, text, top)

    def predict_as(self, line: str, text: str, top: int) -> Served:
        """Return what a line that is held predicts; KeyError if it is not."""
        return self._served(line, self._model_of(line), text, top)

    def shadow_predictions(self, text: str, *, top: int) -> list[Served]:
        """Return what the lines that are watched in role `shadow` predict."""
        return [self.predict_as(trial.line, text, top) for trial in self.trials() if trial.role == "shadow"]

    def explain(self, text: str, label: str | None = None, *, line: str | None = None) -> tuple[ModelVersion, Explanation] | None:
        """Return what each feature of `text` adds to the logit of `label`, or of the most probable class, and by which model that is.

        It is that of `line` if that is held, else the one that serves. None if it cannot explain, or knows no such label.
        """
        explains = line if line is not None and self.holds(line) else self.line
        try:
            explanation = self._model_of(explains).explain(text, label)
        except KeyError:
            return None
        return None if explanation is None else (ModelVersion(line=explains, seq=self.seq), explanation)

    def _served(self, line: str, model: TextModel, text: str, top: int) -> Served:
        proba = model.predict_top(text, top)
        version = ModelVersion(line=line, seq=self.seq)
        return Served(label=next(iter(proba), None), proba=proba, classes=len(model.classes), model=version)

    def _model_of(self, line: str) -> TextModel:
        return self.model if line == self.line else self.watched[line].model

    def snapshot(self) -> bytes:
        """Return the replica's state as bytes.

        Raises:
            ValueError: if the model of a line is missing.
        """
        listed, arrays = replica_storage.stored_lines(self.lines)
        header = snapshots.Header(
            task=self.task,
            seq=self.seq,
            updated_at=self.updated_at,
            unicode=UNICODE,
            lines=listed,
            quality=self.quality.stored(),
            drift=self.drift.stored(),
        )
        return snapshots.encode(header, arrays)

    @classmethod
    def from_snapshot(cls, data: bytes, *, model: str | None = None, allow_pickle: bool = False) -> Replica:
        """Return the replica that `snapshot` described.

        Args:
            model: specification that its models must have, if one must.
            allow_pickle: whether a model that is stored as a pickle may be loaded; a pickle can run any code.

        Raises:
            SnapshotError: if the bytes are corrupt, foreign, of another version or model, or hold a pickle that is not allowed.
        """
        header, arrays = snapshots.decode(data)
        if model is not None and (others := {line.model for line in header.lines} - {model, snapshots.FIRST_MODEL}):
            raise SnapshotError(f"its model is {', '.join(sorted(others))}, not {model}")
        try:
            replica = cls.__new__(cls)  # not with a model that would be replaced at once
            replica.task, replica.seq, replica.updated_at = header.task, header.seq, header.updated_at
            replica.lines = replica_storage.restored_lines(header, arrays, allow_pickle=allow_pickle)
            replica.quality = Prequential.from_stored(header.quality)
            replica.drift = DriftMonitor() if header.drift is msgspec.UNSET else DriftMonitor.from_stored(header.drift)
        except (ValueError, OverflowError, MemoryError) as error:  # numbers in the header may be of any size
            raise SnapshotError(f"intact, but not a model: {error}") from error
        return replica

    def fingerprint(self, line: str | None = None) -> str:
        """Return a SHA-256 over what the line that serves here, or another that is held, has learned: equal for equal models."""
        return (self.model if line is None else self._model_of(line)).fingerprint()
