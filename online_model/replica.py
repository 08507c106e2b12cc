"""A replica: the model of one task as a function of the model log. The one step function of predictor, learner, API and tests."""

from __future__ import annotations

import msgspec

from online_model import snapshots
from online_model.characters import UNICODE
from online_model.drift import DriftMonitor
from online_model.models import TextModel, build, restore
from online_model.prequential import Prequential, scored
from online_model.snapshots import SnapshotError
from online_model.specification import OWN
from schemas.log import AnyLogEntry, LabelEntry
from schemas.records import ModelVersion, Served
from schemas.settings import DriftDetector, Settings

__all__ = ["LogGap", "Replica", "SnapshotError"]

FIRST_LINE = "base"


class LogGap(Exception):
    """An entry of the log is missing: whoever feeds the replica must go back to `expected`."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"the model log goes on with entry {got}, expected {expected}")
        self.expected = expected
        self.got = got


class Replica:
    """The model of one task after the first `seq` entries of its log.

    Attributes:
        task: the task.
        line: the model's line.
        seq: number of the last entry applied, 0 for none.
        updated_at: time of the last label applied, epoch ms, 0 for none.
        model: the classifier.
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
        self.line = FIRST_LINE
        self.seq = 0
        self.updated_at = 0
        self.model: TextModel = build(model, memory_mib=memory_mib)
        self.quality = Prequential(quality_window)
        self.drift = DriftMonitor(drift_detector)

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

    def apply(self, entry: AnyLogEntry) -> bool:
        """Apply the next entry of the log: score the served prediction, then learn. False if it was applied before.

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
            if (served := scored(entry)) is not None:
                result = self.quality.add(entry.label, served, entry.weight)
                self.drift.add(error=not result.correct, seq=entry.seq)
            self.model.learn_one(entry.text, entry.label, entry.weight)
            self.updated_at = entry.time
        self.seq = entry.seq
        return True

    def predict(self, text: str, *, top: int) -> Served:
        """Return the prediction for `text` with its `top` most probable classes."""
        proba = self.model.predict_top(text, top)
        version = ModelVersion(line=self.line, seq=self.seq)
        return Served(label=next(iter(proba), None), proba=proba, classes=len(self.model.classes), model=version)

    def snapshot(self) -> bytes:
        """Return the replica's state as bytes."""
        header = snapshots.Header(
            task=self.task,
            line=self.line,
            seq=self.seq,
            updated_at=self.updated_at,
            model=self.model.specification,
            unicode=UNICODE,
            classes=self.model.classes,
            quality=self.quality.stored(),
            drift=self.drift.stored(),
        )
        return snapshots.encode(header, self.model.arrays())

    @classmethod
    def from_snapshot(cls, data: bytes, *, model: str | None = None, allow_pickle: bool = False) -> Replica:
        """Return the replica that `snapshot` described.

        Args:
            model: specification that its model must have, if one must.
            allow_pickle: whether a model that is stored as a pickle may be loaded; a pickle can run any code.

        Raises:
            SnapshotError: if the bytes are corrupt, foreign, of another version or model, or hold a pickle that is not allowed.
        """
        header, arrays = snapshots.decode(data)
        if model is not None and header.model not in (model, msgspec.UNSET):
            raise SnapshotError(f"its model is {header.model}, not {model}")
        replica = cls(header.task)
        replica.line, replica.seq, replica.updated_at = header.line, header.seq, header.updated_at
        try:
            replica.model = restore(snapshots.specification_of(header), header.classes, arrays, allow_pickle=allow_pickle)
            replica.quality = Prequential.from_stored(header.quality)
            if header.drift is not msgspec.UNSET:
                replica.drift = DriftMonitor.from_stored(header.drift)
        except (ValueError, OverflowError, MemoryError) as error:  # numbers in the header may be of any size
            raise SnapshotError(f"intact, but not a model: {error}") from error
        return replica

    def fingerprint(self) -> str:
        """Return a SHA-256 over what the model has learned: equal for equal models."""
        return self.model.fingerprint()
