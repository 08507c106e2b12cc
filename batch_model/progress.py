"""Training of several candidates, one after the other, that says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from batch_model.candidates import Candidate, Means, Member, table_of
from batch_model.checkpoints import Epoch
from batch_model.prepared import Data, base_of
from batch_model.search import Found, SearchOptions, searched
from batch_model.shuffled import shuffled
from online_model.models import OwnModel


class Doing(msgspec.Struct, frozen=True):
    """What a refresh is doing.

    Attributes:
        stage: `features`, `search`, `candidates` (on the rows before the validation part), `training` (on all).
        done: how much of the stage is done, 0 to 1; training that stops early jumps.
        candidate: whose network just took a pass, if any.
        epoch: what the pass reached.
    """

    stage: str
    done: float
    candidate: str = ""
    epoch: Epoch | None = None


class Training:
    """Trains candidates on the same data, one after the other.

    Args:
        data: rows as training takes them.
        means: device, seed, checkpoints.
        progress: is called after each pass.
    """

    def __init__(self, data: Data, means: Means, progress: Callable[[Doing], None]) -> None:
        self._data, self._means, self._progress = data, means, progress

    def found(self, options: SearchOptions, cut: int, champion: OwnModel | None) -> Found | None:
        """Return what a search for parameters finds on the rows before `cut`, if anything."""
        samples = msgspec.structs.replace(self._data.samples, cut=cut)
        base = base_of(self._data, champion, cut)
        return searched(samples, base, self._means, options, lambda done: self._progress(Doing("search", done)))

    def members(
        self,
        stage: str,
        candidates: Sequence[Candidate],
        cut: int,
        champion: OwnModel | None,
        passes: Mapping[str, list[int]] | None = None,
    ) -> list[Member]:
        """Return what comes of the candidates on the rows before `cut`.

        Args:
            stage: for the progress.
            candidates: who is trained.
            cut: the first row that is not learned; rows from there on say when to stop.
            champion: what the champion was before that row; an online model of one pass over the rows before the cut stands in for None.
            passes: how many passes each network takes, where that is known.
        """
        base = base_of(self._data, champion, cut) if any(candidate.base for candidate in candidates) else None
        samples = msgspec.structs.replace(self._data.samples, cut=cut)
        total, done, found = sum(candidate.members for candidate in candidates), 0, []
        for candidate in candidates:

            def report(name: str, number: int, epoch: Epoch, *, before: int = done, most: int = candidate.passes) -> None:
                self._progress(Doing(stage, (before + number + min(1.0, epoch.epoch / most)) / total, name, epoch))

            known = None if passes is None else passes.get(candidate.name)
            if candidate.hyper is None:
                found.append(shuffled(candidate, self._data, cut, self._means.seed, report))
            else:
                found.append(table_of(candidate, candidate.hyper, samples, base, self._means, passes=known, report=report))
            done += candidate.members
        self._progress(Doing(stage, 1.0))
        return found
