"""A replica of one task that follows the committed log and is asked by others meanwhile: loaded, kept current, made anew if need be.

Nothing of the engine is imported before the first load, which runs in a thread: a process that wants no model does not pay for one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from schemas.log import AnyLogEntry
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.building import FIRST_WAIT_S, Building
from store.log_reader import ModelLogReader
from store.model_feed import NotReadYet
from store.turns import Turns

if TYPE_CHECKING:
    from online_model.confidences import Confidences
    from online_model.replica import Replica
    from store.beside import Beside

log = logging.getLogger(__name__)

LOOK_BACK = 10_000
"""Entries of the log in which the last labels that score a prediction are looked for."""


class _Loaded:
    """What a load makes: the replica, and how sure the last served predictions were."""

    def __init__(self, replica: Replica, confidences: Confidences) -> None:
        self.replica = replica
        self.confidences = confidences

    def apply(self, entry: AnyLogEntry) -> None:
        """Apply the next entry of the log; one that is known is ignored."""
        if self.replica.apply(entry):
            self.confidences.apply(entry)


class LiveReplica:
    """The model of one task as the jobs have it, some tenths of a second after the log has it.

    One thread, that of the feed, calls `begin`, `take`, `step` and `forget`; it alone applies entries, one in a turn. Any thread may
    ask within `held`, a text in a turn: neither waits for more than one entry or one text of the other.

    Args:
        settings: where log and snapshots are, and which model it is.
        task: the task.
        first_wait_s: how long it waits after the first failure to load; later waits are longer.
    """

    def __init__(self, settings: Settings, task: str, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._settings = settings
        self._task = task
        self._first_wait_s = first_wait_s
        self._turns = Turns()
        self._beside: Beside | None = None
        self._building: Building[_Loaded] | None = None
        self._confidences: Confidences | None = None
        self._seen = 0
        self._ends_at = 0
        self._reached = 0
        self._trouble = self._away = ""

    @contextmanager
    def held(self, wait_s: float = -1) -> Iterator[Replica]:
        """Give the replica that serves now; it does not change before the block ends, which must be short.

        Raises:
            NotReadYet: while it is loaded.
            NotYourTurn: if another thread holds it for longer than `wait_s` (-1: wait as long as it takes).
        """
        with self._turns.taken(wait_s):
            if self._beside is None:
                raise NotReadYet(self._trouble or self._progress())
            yield self._beside.replica

    def confidences(self) -> list[tuple[float, bool]]:
        """Return how sure the served predictions of the last labels were, and whether they were right; call it within `held`."""
        return self._confidences.known() if self._confidences else []

    @property
    def busy(self) -> bool:
        """Whether something is being loaded, so that `step` should be called often."""
        return self._building is not None or (self._beside is not None and self._beside.loading)

    def begin(self) -> None:
        """Begin to load, if nothing was loaded yet; returns at once."""
        self._away = ""
        if self._beside is None and self._building is None:
            # Whatever is wrong, it may be right at the next try, and who asks meanwhile is told.
            self._building = Building(
                f"replica of task {self._task}", self._build, _Loaded.apply, retry=(Exception,), first_wait_s=self._first_wait_s
            )

    def away(self, why: str) -> None:
        """Take note that the log cannot be read now: what was loaded goes on answering."""
        self._away = why

    def take(self, entry: AnyLogEntry) -> None:
        """Take an entry that was committed after `begin`; one that is known is ignored."""
        if entry.seq <= self._seen:
            self._start_anew(f"the model log goes back from entry {self._seen} to {entry.seq}: it was replaced by another one")
        self._seen = entry.seq
        if self._building is not None:
            self._building.add(entry)
        elif self._beside is not None:
            self._apply(self._beside, entry)

    def step(self, ends_at: int) -> None:
        """Do what is due: let what was loaded take over.

        Args:
            ends_at: the last entry of the log as far as is known, to tell the progress.
        """
        self._ends_at = max(ends_at, self._seen)
        if self._building is not None:
            self._look_at(self._building)
        elif self._beside is not None and self._beside.loading:
            with self._turns.taken():
                self._beside.step()

    def forget(self, trouble: str = "") -> None:
        """Let go of the model: what it was made from counts no more. `trouble` is told to those who ask until there is another."""
        self._trouble = trouble
        self._end()

    def close(self) -> None:
        """End what is being loaded."""
        self._end(wait=True)

    def _end(self, *, wait: bool = False) -> None:
        building, self._building = self._building, None
        with self._turns.taken():
            beside, self._beside, self._confidences = self._beside, None, None
        self._seen = self._reached = 0
        if building is not None:
            building.close() if wait else building.stop()
        if beside is not None:
            beside.close()

    def _look_at(self, building: Building[_Loaded]) -> None:
        from online_model.replica import LogGap  # noqa: PLC0415 - not before it is needed; see the module

        try:
            loaded = building.take()
        except LogGap as error:
            self._start_anew(str(error))
            return
        if loaded is not None:
            self._serve(loaded)

    def _apply(self, beside: Beside, entry: AnyLogEntry) -> None:
        from online_model.replica import LogGap  # noqa: PLC0415 - in memory by now

        try:
            with self._turns.taken():
                beside.apply(entry)
                if self._confidences is not None:
                    self._confidences.apply(entry)
        except LogGap as error:
            self._start_anew(str(error))

    def _start_anew(self, why: str) -> None:
        log.warning("task %s: %s; the model is loaded anew", self._task, why)
        self.forget(f"the model of task {self._task} is loaded anew: {why}")
        self.begin()

    def _serve(self, loaded: _Loaded) -> None:
        from store.beside import Beside  # noqa: PLC0415 - in memory by now; see the module

        log.info("task %s: line %s is answered with from seq %d on", self._task, loaded.replica.line, loaded.replica.seq)
        self._building, self._trouble = None, ""
        with self._turns.taken():
            self._beside = Beside(loaded.replica, self._load, first_wait_s=self._first_wait_s)
            self._confidences = loaded.confidences

    def _build(self) -> _Loaded:
        """Load, in a thread; the last entries are read once more for what a replica does not keep."""
        from online_model.confidences import Confidences  # noqa: PLC0415 - not before it is needed; see the module

        replica, confidences = self._load(), Confidences(self._settings.quality_window)
        for entry in self._reader().entries(self._task, after_seq=max(0, replica.seq - LOOK_BACK)):
            if entry.seq <= replica.seq:
                confidences.apply(entry)
        return _Loaded(replica, confidences)

    def _load(self) -> Replica:
        """Load the replica alone, in a thread."""
        from online_model.replica import Replica  # noqa: PLC0415 - not before it is needed; see the module
        from online_model.softmax import warm_up  # noqa: PLC0415 - the same
        from store.model_log import ModelUnavailable, load_replica  # noqa: PLC0415 - the same

        settings = self._settings
        try:
            warm_up()
            new, artifacts = Replica.configured(settings, self._task), ArtifactFolder(settings.artifacts)
            return load_replica(self._reader(), artifacts, new, allow_pickle=settings.allow_pickle, progress=self._reach)
        except Exception as error:
            advice = ". Restore a snapshot, or the log" if isinstance(error, ModelUnavailable) else ""
            self._trouble = f"the model of task {self._task} cannot be loaded, and is tried again: {error}{advice}"
            raise

    def _reader(self) -> ModelLogReader:
        return ModelLogReader(self._settings.kafka, self._settings.topic_prefix + Topic.MODEL_LOG)

    def _reach(self, seq: int) -> None:
        self._reached = seq

    def _progress(self) -> str:
        if self._building is None:
            return f"the model of task {self._task} is loaded as soon as the model log can be read. {self._away}".rstrip()
        if not self._reached:
            return f"the model of task {self._task} is being loaded: its newest snapshot is looked for"
        return f"the model of task {self._task} is being loaded: entry {self._reached} of {max(self._ends_at, self._reached)}"
