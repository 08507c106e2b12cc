"""What the user of the stack must act on. Every message says what to do; none is shown with a stack trace."""

from __future__ import annotations

from collections.abc import Sequence


class StackError(Exception):
    """The stack cannot do what was asked; the message says why, and what to do."""

    exit_code = 2


class ConfigurationErrors(StackError):
    """Everything that is wrong with what the user gave, at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class AlreadyRunning(StackError):
    """The data folder is in use by another supervisor."""


class NotRunning(StackError):
    """No supervisor runs on the data folder."""

    exit_code = 1


class PartFailed(StackError):
    """A part did not come up."""

    exit_code = 1


class StateMissing(StackError):
    """A job has written output, but no state to resume from is left: starting it empty would lose what it knew."""
