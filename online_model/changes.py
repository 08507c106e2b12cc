"""What a command asks of a replica: why it cannot be done, and the entry of the log that does it. Used by the learner."""

from __future__ import annotations

from typing import Any

from online_model.lines import MOST_WATCHED
from online_model.replica import Replica
from online_model.specification import RIVER
from online_model.trials import Decision
from schemas.log import AnyChange, Command, DropEntry, Origin, PromoteEntry, RefusalEntry, ReleaseEntry, RollbackEntry

LEARNER = "learner"
TRIAL = "trial"
MOST_SHARE = 0.999
"""Of the events, that all watched lines may serve together: the champion must serve some."""
MOST_WHY = 4096
"""Characters of the reason of a refusal."""


def target_of(replica: Replica, command: Command) -> str | None:
    """Return the line that a command is about: the one that it names, or for a rollback without a name the former one."""
    if command.line is not None or command.do != "rollback":
        return command.line
    return next((name for name, role in replica.roles.items() if role == "former"), None)


def needs_model(replica: Replica, command: Command) -> bool:
    """Say whether a command that can be done brings in a line that is not held, so that its model must be built first."""
    line = target_of(replica, command)
    return command.do != "drop" and line is not None and not replica.holds(line)


def objection(replica: Replica, command: Command) -> str | None:
    """Return why a command cannot be done, as a sentence; None if it can, as far as the replica knows: it reads no artifact."""
    if command.against is not None and command.against != replica.champion:
        return f"it was meant to replace {command.against}, but {replica.champion} serves"
    line = target_of(replica, command)
    if line is None:
        return "there is no former line to go back to" if command.do == "rollback" else "it names no line"
    if line == replica.champion:
        return f"{line} serves already" if command.do != "drop" else f"{line} serves; it can only be replaced"
    if command.do == "drop":
        return None if line in replica.roles else f"{line} is not watched"
    return _of_origin(replica, command, line) or _of_share(replica, command, line) or _of_number(replica, command, line)


def _of_origin(replica: Replica, command: Command, line: str) -> str | None:
    if replica.holds(line):
        known = replica.origin_of(line)
        return f"{line} began with something else" if command.origin not in (None, known) else None
    if replica.model.specification.startswith(RIVER):
        return f"the model is {replica.model.specification}: only lines of the own engine can be brought in"
    if command.origin is None:
        return f"{line} is not held, and its origin is not named"
    if command.origin.cut_seq > replica.seq:
        return f"{line} began after entry {command.origin.cut_seq}, but the log ends at {replica.seq}"
    if command.origin.cut_seq < 0 or (command.origin.artifact is None and command.origin.cut_seq != 0):
        return f"{line} began at entry {command.origin.cut_seq} without an artifact"
    return None


def _of_share(replica: Replica, command: Command, line: str) -> str | None:
    if command.do != "split":
        return None
    if command.share is None:
        return "it names no share of the events"
    others = sum(trial.share for trial in replica.trials() if trial.line != line)
    if command.share + others > MOST_SHARE:
        return f"with the share of {command.share:g}, watched lines would serve {command.share + others:g} of the events"
    return None


def _of_number(replica: Replica, command: Command, line: str) -> str | None:
    after = {name for name in replica.roles if name != line}
    if command.do == "serve":
        after = {name for name in after if replica.roles[name] != "former"} | {replica.champion}
    elif command.do != "rollback":
        after.add(line)
    return f"{len(after)} lines would be watched, {MOST_WATCHED} is the most" if len(after) > MOST_WATCHED else None


def entry_for(replica: Replica, command: Command, now: int) -> AnyChange:
    """Return the entry that does what a command asks, or that refuses it with the objection; `now` is epoch ms."""
    line = target_of(replica, command)
    why = objection(replica, command)
    if why is not None or line is None:
        return refusal(replica, command, why or "", now)
    common: dict[str, Any] = _common(replica, command, now) | {"line": line, "why": command.why}
    if command.do == "drop":
        return DropEntry(**common)
    origin = replica.origin_of(line) if replica.holds(line) else command.origin or Origin()
    if command.do == "rollback":
        return RollbackEntry(**common, origin=origin, replaces=replica.champion)
    if command.do == "serve" and replica.holds(line):
        return PromoteEntry(**common, replaces=replica.champion)
    return ReleaseEntry(**common, origin=origin, mode=command.do, share=command.share if command.do == "split" else None)


def refusal(replica: Replica, command: Command, why: str, now: int) -> RefusalEntry:
    """Return the entry that says why a command is not done; what an artifact or a sender has put into the reason may be of any length."""
    line = target_of(replica, command) or ""
    if len(why) > MOST_WHY:
        why = f"{why[:MOST_WHY]} …"
    return RefusalEntry(**_common(replica, command, now), line=line, why=why, do=command.do)


def _common(replica: Replica, command: Command, now: int) -> dict[str, Any]:
    return {
        "seq": replica.seq + 1,
        "task": replica.task,
        "time": now,
        "by": command.by,
        "command_id": command.command_id,
        "metrics": command.metrics,
        "data": command.data,
    }


def entry_of(replica: Replica, decision: Decision, now: int) -> AnyChange:
    """Return the entry that ends a trial as it was decided."""
    common: dict[str, Any] = {
        "seq": replica.seq + 1,
        "task": replica.task,
        "time": now,
        "line": decision.line,
        "by": TRIAL,
        "why": decision.why,
        "metrics": decision.metrics,
    }
    if decision.action == "drop":
        return DropEntry(**common)
    if decision.action == "promote":
        return PromoteEntry(**common, replaces=replica.champion)
    return RollbackEntry(**common, origin=replica.origin_of(decision.line), replaces=replica.champion)


def repair(replica: Replica, now: int) -> AnyChange | None:
    """Return the next entry that makes the log say what the learner's replica holds; None if it lacks no line.

    A champion whose model cannot be had is rolled back to the line that stands in for it; a watched line is dropped.
    """
    if not replica.missing:
        return None
    common: dict[str, Any] = {"seq": replica.seq + 1, "task": replica.task, "time": now, "by": LEARNER}
    if replica.champion in replica.missing:
        why = f"the model of {replica.champion} cannot be had any more"
        origin = replica.origin_of(replica.line)
        return RollbackEntry(**common, line=replica.line, why=why, origin=origin, replaces=replica.champion)
    line = min(replica.missing)
    return DropEntry(**common, line=line, why=f"the model of {line} cannot be had any more")
