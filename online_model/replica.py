"""A replica: the model of one task as a function of the model log. The one step function of predictor, learner, API and tests."""

from __future__ import annotations

from online_model import snapshots
from online_model.prequential import Prequential, scored
from online_model.snapshots import SnapshotError
from online_model.softmax import HashedSoftmax
from schemas.records import AnyLogEntry, LabelEntry, ModelVersion, Served

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
    """

    def __init__(self, task: str, *, memory_mib: int = 64, quality_window: int = 1000) -> None:
        self.task = task
        self.line = FIRST_LINE
        self.seq = 0
        self.updated_at = 0
        self.model = HashedSoftmax(memory_mib)
        self.quality = Prequential(quality_window)

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
                self.quality.add(entry.label, served, entry.weight)
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
            settings=snapshots.ModelSettings(memory_mib=self.model.memory_mib, learning_rate=self.model.learning_rate),
            classes=self.model.classes,
            quality=self.quality.stored(),
        )
        return snapshots.encode(header, self.model.arrays())

    @classmethod
    def from_snapshot(cls, data: bytes) -> Replica:
        """Return the replica that `snapshot` described.

        Raises:
            SnapshotError: if the bytes are corrupt, foreign, or of another version.
        """
        header, arrays = snapshots.decode(data)
        replica = cls(header.task)
        replica.line, replica.seq, replica.updated_at = header.line, header.seq, header.updated_at
        try:
            replica.model = HashedSoftmax.from_arrays(
                arrays,
                header.classes,
                memory_mib=header.settings.memory_mib,
                learning_rate=header.settings.learning_rate,
            )
            replica.quality = Prequential.from_stored(header.quality)
        except ValueError as error:
            raise SnapshotError(f"intact, but not a model: {error}") from error
        return replica

    def fingerprint(self) -> str:
        """Return a SHA-256 over the model's classes and arrays: equal if and only if the models are, byte for byte."""
        model = self.model
        shape = f"{model.classes!r} {model.rows} {model.capacity}"
        return snapshots.checksum(shape.encode(errors="surrogatepass"), model.arrays())
