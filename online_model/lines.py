"""The lines of one task: the one that serves, those that are watched, and what each change of the log does to them."""

from __future__ import annotations

import msgspec

from online_model.models import TextModel
from online_model.prequential import scored
from online_model.trials import compared, new_trial, prequential_score, with_outcome
from schemas.log import AnyChange, DropEntry, LabelEntry, Origin, PromoteEntry, RefusalEntry, ReleaseEntry, RollbackEntry, VerdictEntry
from schemas.records import Role, Trial

FIRST_LINE = "base"
MOST_WATCHED = 3
"""Lines that are watched at a time; each costs a prediction and a lesson a label, and the memory of a model."""


class Watched(msgspec.Struct, kw_only=True):
    """A line that is watched.

    Attributes:
        role: what it is watched for.
        model: its model.
        origin: what it began with.
        trial: how it compares with the champion.
    """

    role: Role
    model: TextModel
    origin: Origin
    trial: Trial


class Lines:
    """The lines that one task's replica holds, and those that it ought to hold.

    A line whose model was not given is *absent*. If that is the champion, the line that served before goes on serving here as its
    stand-in, and nothing is compared until a champion is held again; since every trial restarts with a new champion, the trials
    of the lines that are held are those of a replica that was given everything.

    Attributes:
        line: the line that serves here: the champion, or its stand-in.
        model: its model.
        origin: what it began with.
        watched: the watched lines that are held, by name.
    """

    def __init__(self, model: TextModel, *, line: str = FIRST_LINE, origin: Origin | None = None) -> None:
        self.line = line
        self.model = model
        self.origin = Origin() if origin is None else origin
        self.watched: dict[str, Watched] = {}
        self._absent: dict[str, Role] = {}
        self._absent_champion: str | None = None

    @property
    def champion(self) -> str:
        """The line that serves, as the log says."""
        return self.line if self._absent_champion is None else self._absent_champion

    @property
    def missing(self) -> frozenset[str]:
        """The lines that the log says are served or watched, and that are not held."""
        return frozenset(self._absent if self._absent_champion is None else {*self._absent, self._absent_champion})

    @property
    def roles(self) -> dict[str, Role]:
        """The roles of all watched lines, held or not."""
        return {name: watched.role for name, watched in self.watched.items()} | self._absent

    def models(self) -> dict[str, TextModel]:
        """Return the models that are held, by line; the one that serves here first."""
        return {self.line: self.model} | {name: self.watched[name].model for name in sorted(self.watched)}

    def holds(self, line: str) -> bool:
        """Say whether the line's model is held."""
        return line == self.line or line in self.watched

    def origin_of(self, line: str) -> Origin:
        """Return what a line that is held began with; KeyError if it is not."""
        return self.origin if line == self.line else self.watched[line].origin

    def compare(self, entry: LabelEntry) -> None:
        """Compare every watched line with the champion on a label that none of them has learned yet.

        A correction compares nothing: the text was learned before, with another label.
        """
        if not self.watched or self._absent_champion is not None or entry.corrects is not None:
            return
        champion = prequential_score(self.model, entry.text, entry.label)
        served = scored(entry)
        for watched in self.watched.values():
            trial = compared(watched.trial, champion, prequential_score(watched.model, entry.text, entry.label))
            watched.trial = trial if served is None else with_outcome(trial, served, correct=served.label == entry.label)

    def count_wrong(self, entry: VerdictEntry) -> None:
        """Count a prediction that someone says is wrong for the line that served it.

        It compares nothing: it does not tell which label would have been right, so nobody knows whether a line that says another is.
        """
        if self._absent_champion is None:
            for watched in self.watched.values():
                watched.trial = with_outcome(watched.trial, entry.served, correct=False)

    def learn(self, entry: LabelEntry) -> None:
        """Let every line that is held learn the label."""
        self.model.learn_one(entry.text, entry.label, entry.weight)
        for name, watched in self.watched.items():
            if name != self.line:  # a stand-in may be watched as well
                watched.model.learn_one(entry.text, entry.label, entry.weight)

    def change(self, entry: AnyChange, brought: TextModel | None) -> None:
        """Do what an entry says; `brought` is the model of a line that comes in, as it is at the entry."""
        match entry:
            case ReleaseEntry(mode="serve") | PromoteEntry():
                self._succeed(entry, brought)
            case ReleaseEntry():
                self._watch(entry, brought)
            case RollbackEntry():
                self._serve(entry.line, self._taken(entry.line, entry.origin, brought), entry.seq)
            case DropEntry():
                self._forget(entry.line)
            case RefusalEntry():
                pass

    def _succeed(self, entry: ReleaseEntry | PromoteEntry, brought: TextModel | None) -> None:
        """Let a line serve; the champion becomes the former one, and who was that is held no more."""
        if entry.line == self.champion:
            return
        coming = self._taken(entry.line, entry.origin if isinstance(entry, ReleaseEntry) else None, brought)
        for name in [name for name, role in self.roles.items() if role == "former"]:
            self._forget(name)
        going = self.champion
        if self._absent_champion is None:
            trial = new_trial(going, "former", entry.line, entry.seq, 0.0)
            self.watched[going] = Watched(role="former", model=self.model, origin=self.origin, trial=trial)
        else:
            self._absent[going] = "former"
        self._serve(entry.line, coming, entry.seq)

    def _taken(self, line: str, origin: Origin | None, brought: TextModel | None) -> tuple[TextModel, Origin] | None:
        """Return a line's model and origin, None if it is not to be had; it is watched no more."""
        self._absent.pop(line, None)
        watched = self.watched.pop(line, None)
        if watched is not None:
            return watched.model, watched.origin
        if line == self.line and origin in (None, self.origin):
            return self.model, self.origin
        return None if brought is None or origin is None else (brought, origin)

    def _serve(self, line: str, coming: tuple[TextModel, Origin] | None, seq: int) -> None:
        """Make a line the champion, with whom all that are watched are compared anew."""
        if coming is None:
            self._absent_champion = line
        else:
            self._absent_champion = None
            self.line, (self.model, self.origin) = line, coming
        for name, watched in self.watched.items():
            watched.trial = new_trial(name, watched.role, line, seq, watched.trial.share)

    def _watch(self, entry: ReleaseEntry, brought: TextModel | None) -> None:
        """Watch a line, or one that is watched already in another role or with another share."""
        if entry.line == self.champion or entry.mode == "serve":
            return
        coming = self._taken(entry.line, entry.origin, brought)
        if coming is None:
            self._absent[entry.line] = entry.mode
            return
        trial = new_trial(entry.line, entry.mode, self.champion, entry.seq, entry.share or 0.0)
        self.watched[entry.line] = Watched(role=entry.mode, model=coming[0], origin=coming[1], trial=trial)

    def _forget(self, line: str) -> None:
        self.watched.pop(line, None)
        self._absent.pop(line, None)
