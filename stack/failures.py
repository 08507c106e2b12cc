"""What a job's failures add up to: output that is missing, or a state that cannot be restored."""

from __future__ import annotations

from collections.abc import Callable

from stack.answers import RunningCheck

StartCheck = Callable[[int], RunningCheck]
"""Starts to look whether all that was read since a time (epoch ms) is answered."""

CHECK_MARGIN_MS = 150_000


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
        self._last_counter = 0
        self._suspect = False
        self._since: int | None = None
        self._restores: set[int] = set()

    @property
    def checking(self) -> bool:
        """Whether commits have failed, and it is not known yet what that means."""
        return self._suspect or self._check is not None

    def running(self, now: float) -> None:
        """Note that all tasks run (epoch seconds); what is checked later begins before the last time of that."""
        if not self.checking:
            self._since = int(now * 1000) - CHECK_MARGIN_MS

    def commits(self, counter: int) -> None:
        """Take in the counter of commits that failed in this attempt: of what was aborted, or of what had been committed already."""
        self._suspect = self._suspect or (counter > 0 and counter != self._last_counter)
        self._last_counter = counter

    def tick(self) -> None:
        """Go on with looking into failed commits."""
        if self._check is not None and not self._check.running:
            found, self._check = self._check.found(), None
            self._suspect = self._suspect or found is None
            self.unanswered = self.unanswered if found is None else len(found.unanswered)
        elif self._check is None and self._suspect:
            self._suspect = False
            self._check = self._start_check(self._since or 0) if self._start_check else None

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
        """Whether that has happened twice since the job was submitted; once may be an accident."""
        return len(self._restores) > 1

    def new_submission(self) -> None:
        """Begin anew with the restores; what is missing stays missing until a check finds it."""
        self._restores.clear()
