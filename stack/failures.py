"""What a job's failures add up to: output that is missing, or a state that cannot be restored."""

from __future__ import annotations


class Failures:
    """Counts over the attempts of one job; Flink's own counters begin at zero with each.

    >>> failures = Failures()
    >>> for counter in (0, 2, 2, 1): failures.commits(counter)
    >>> failures.failed_commits
    3
    """

    def __init__(self) -> None:
        self.failed_commits = 0
        self._last = 0
        self._restores: set[int] = set()

    def commits(self, counter: int) -> None:
        """Take in the counter of transactions that a checkpoint had counted on, and the broker has aborted."""
        self.failed_commits += counter - self._last if counter >= self._last else counter
        self._last = counter

    def restore(self, failed_at: int | None) -> None:
        """Take in the time of the newest failure, if its cause was that the state could not be restored."""
        if failed_at is not None:
            self._restores.add(failed_at)

    @property
    def cannot_restore(self) -> bool:
        """Whether that has happened twice since the job was submitted; once may be an accident."""
        return len(self._restores) > 1

    def new_submission(self) -> None:
        """Begin anew with the restores; what is missing stays missing."""
        self._restores.clear()
