"""The replica that serves, and the one that is loaded beside it when the log brings in a line that it does not hold."""

from __future__ import annotations

import logging
from collections.abc import Callable

from online_model.replica import LogGap, Replica
from schemas.log import AnyLogEntry
from store.building import FIRST_WAIT_S, STEP_S, Building

log = logging.getLogger(__name__)


class Incomplete(Exception):
    """What was loaded lacks every line that is missing, or one that is held: its model cannot be had now."""


class Beside:
    """Serves one task without a pause while lines come and go. One thread calls it.

    An entry that brings in a line whose model the replica does not hold makes it load a complete second replica, from snapshot, artifact
    and log, in a thread. The first goes on serving the lines that it holds, and learns. When the second has learned what came meanwhile,
    it takes the first one's place between two calls. If that lacks a line again by then, the next one is begun.

    Attributes:
        replica: the one that serves; ask for it anew for each prediction.

    Args:
        replica: the first one.
        load: returns the task's replica as it is at the end of the committed log.
        first_wait_s: how long it waits after the first failure to load; later waits are longer.
    """

    def __init__(self, replica: Replica, load: Callable[[], Replica], *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.replica = replica
        self._load = load
        self._first_wait_s = first_wait_s
        self._building: Building[Replica] | None = None
        self._stopped: list[Building[Replica]] = []

    @property
    def loading(self) -> bool:
        """Whether another replica is being loaded."""
        return self._building is not None

    def apply(self, entry: AnyLogEntry) -> None:
        """Apply the next committed entry of the log; one that is known is ignored.

        Raises:
            LogGap: if entries are missing before it.
        """
        self.replica.apply(entry)
        if self._building is not None:
            self._building.add(entry)
        self.step()

    def step(self, within_s: float = STEP_S) -> None:
        """Do what is due, in about the given time: begin to load, bring what was loaded up to date, let it take over."""
        if self._building is None:
            if self.replica.missing:
                self._begin()
            return
        if not self.replica.missing:
            # What was missing has been taken back.
            self._stop()
            return
        try:
            other = self._building.take(within_s)
        except LogGap as error:
            log.warning("task %s: what was loaded beside does not meet the log: %s", self.replica.task, error)
            self._stop()
            return
        if other is not None:
            self._take_over(other)

    def close(self) -> None:
        """End what still loads, and wait for it."""
        self._stop()
        for building in self._stopped:
            building.close()

    def _stop(self) -> None:
        """Let a load end, without waiting: this one's time is that of the predictions."""
        if self._building is not None:
            self._building.stop()
            self._stopped = [*(stopped for stopped in self._stopped if stopped.alive), self._building]
            self._building = None

    def _begin(self) -> None:
        task = self.replica.task
        log.info("task %s: %s is loaded beside %s", task, ", ".join(sorted(self.replica.missing)), self.replica.line)
        # Whatever is wrong, serving goes on, and it may be right at the next try.
        self._building = Building(
            f"replica of task {task}", self._loaded, Replica.apply, retry=(Exception,), first_wait_s=self._first_wait_s
        )

    def _loaded(self) -> Replica:
        """Load, in the thread."""
        replica = self._load()
        if not replica.missing < self.replica.missing:  # nor may it lack a line that is held here: that one may serve
            raise Incomplete(f"the models of {', '.join(sorted(replica.missing))} cannot be had")
        return replica

    def _take_over(self, other: Replica) -> None:
        self._building = None
        if other.seq < self.replica.seq:
            log.warning("task %s: loaded up to seq %d, seq %d is served: once more", other.task, other.seq, self.replica.seq)
            return
        log.info("task %s: line %s serves from seq %d on, before it %s", other.task, other.line, other.seq, self.replica.line)
        self.replica = other
