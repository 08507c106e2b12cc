"""What a job's failures add up to: output that is missing, or a state that cannot be restored."""

from __future__ import annotations

from collections.abc import Callable

from stack.answers import RunningCheck
from store.rewind import Place

StartCheck = Callable[[int], RunningCheck]
"""Starts to look whether all that was read since a time (epoch ms) is answered."""

CHECK_MARGIN_MS = 150_000
AGAIN_S = 15.0
REPORTED_AGAIN_S = 300.0
"""What is reported stays so until it is written: it is looked for again, now and then, from the same time on."""


class Failures:
    """Counts over the attempts of one job, and looks into what they mean.

    Attributes:
        unanswered: records that a failed commit has really cost.
    """

    def __init__(self, start_check: StartCheck | None) -> None:
        """Look with `start_check`; None for a job that repeats what it wrote, so that nothing can be missing."""
        self.unanswered = 0
        self._start_check = start_check
        self._check: RunningCheck | None = None
        self._counted = 0, 0
        self._suspect = False
        self._suspected: set[Place] | None = None
        self._next = 0.0
        self._since: int | None = None
        self._restores: set[int] = set()

    @property
    def checking(self) -> bool:
        """Whether commits have failed, and it is not known yet what that means."""
        return self._suspect or self._check is not None

    def running(self, now: float) -> None:
        """Note that all tasks run (epoch seconds); what is checked later begins before the last time of that."""
        self._restores.clear()
        if not self.checking and not self.unanswered:
            self._since = int(now * 1000) - CHECK_MARGIN_MS

    def commits(self, counter: int, attempt: int) -> None:
        """Take in the counter of commits that failed in this attempt: of what was aborted, or of what had been committed already.

        Flink gives none now and then, so only a counter that is higher than before is news.
        """
        attempt_before, most = self._counted
        most = most if attempt == attempt_before else 0
        self._suspect = self._suspect or counter > most
        self._counted = attempt, max(counter, most)

    def tick(self, now: float) -> None:
        """Go on with looking into failed commits (`now` in epoch seconds)."""
        if self._start_check is None:
            self._suspect = False
        elif self._check is not None and not self._check.running:
            found, self._check = self._check.found(), None
            self._take_in(None if found is None else set(found.unanswered), now)
        elif self._check is None and now >= self._next and (self._suspect or self.unanswered):
            self._suspect = False
            self._check = self._start_check(self._since or 0)

    def _take_in(self, found: set[Place] | None, now: float) -> None:
        """Report what was found twice: a job that has just been started again has yet to write what the one before had read."""
        self._next = now + AGAIN_S
        if found is None:
            self._suspect = True
            return
        confirmed = found & self._suspected if self._suspected is not None else set[Place]()
        self._suspect = self._suspect or (bool(found) and self._suspected is None)
        self.unanswered = len(confirmed)
        self._suspected = found or None
        if confirmed:
            self._next = now + REPORTED_AGAIN_S

    def stop(self) -> None:
        """End what runs."""
        if self._check is not None:
            self._check.stop()
            self._check = None

    def restore(self, failed_at: int | None) -> None:
        """Take in the time of the newest failure, if its cause was that the state could not be restored."""
        if failed_at is not None:
            self._restores.add(failed_at)

    @property
    def cannot_restore(self) -> bool:
        """Whether that has happened twice since the job last ran, or was submitted; once may be an accident."""
        return len(self._restores) > 1

    def new_submission(self, state_time: int | None) -> None:
        """Begin anew with what Flink counts; what is missing stays missing until a check finds it.

        `state_time`: since when (epoch ms) the state that the job starts from may not know of output; None for none.
        """
        self._restores.clear()
        self._counted = 0, 0
        self._since = state_time if self._since is None else self._since
