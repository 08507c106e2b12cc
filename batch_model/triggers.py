"""When a task is refreshed by itself, and what is worth an alert. Pure: times are arguments, in epoch seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Trigger = Literal["schedule", "labels", "drift", "fall"]
Outcome = Literal["done", "failed"]
AlertKind = Literal["refresh_failed", "labels_stale", "refresh_stale"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What starts a refresh; 0 (or false) switches a rule off.

    Attributes:
        every_s: so long after the last one.
        labels: after so many labels since the last one.
        on_drift: when a drift alarm has been raised since the last one.
        fall: when accuracy over the window is so much below the best since the last one, or below that over all labels.
        least_labels: none of these before so many labels since the last one: there must be something to learn.
        pause_s: nor so shortly after the last one.
        retry_s: a failed one is tried again after this, then after twice this, and so on …
        retry_longest_s: … and at the latest after this.
        stale_labels_s: an alert when no label has been learned for so long.
        stale_refresh_s: an alert when no refresh has come to its end for so long.
    """

    every_s: float = 0.0
    labels: int = 0
    on_drift: bool = False
    fall: float = 0.0
    least_labels: int = 1
    pause_s: float = 0.0
    retry_s: float = 60.0
    retry_longest_s: float = 6 * 3600.0
    stale_labels_s: float = 0.0
    stale_refresh_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is seen of a task now.

    Attributes:
        seq: of the model log's last entry.
        new_labels: labels in the log after `State.cut_seq`.
        last_label_at: when the last label was learned; None before the first.
        alarms: how many drift alarms there have been.
        window: accuracy of the served predictions over the sliding window; None while that is not full.
        overall: accuracy over all labels; None before the first.
    """

    seq: int = 0
    new_labels: int = 0
    last_label_at: float | None = None
    alarms: int = 0
    window: float | None = None
    overall: float | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """What the worker remembers of a task from one look to the next; `since` is when it began to watch.

    Attributes:
        since: when the task was first watched: schedule and staleness count from there before the first refresh.
        done_at: when the last refresh came to its end, whether it released something or not.
        tried_at: when the last one ended, failed or not.
        failures: how many have failed since the last one that did not.
        cut_seq: entry of the log at which the last one that did not fail had begun to read.
        alarms: drift alarms that it knew of.
        best: the best accuracy over the window since it.
        reason: what the refresh that failed last has said.
    """

    since: float
    done_at: float | None = None
    tried_at: float | None = None
    failures: int = 0
    cut_seq: int = 0
    alarms: int = 0
    best: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Due:
    """A refresh is due: what for, and why as a sentence."""

    trigger: Trigger
    why: str


@dataclass(frozen=True)
class Stale:
    """Something has not come for too long."""

    kind: AlertKind
    why: str


def look(state: State, seen: Seen) -> State:
    """Return the state after a look: the best score since the last refresh is remembered.

    >>> look(State(since=0, best=0.8), Seen(window=0.9)).best
    0.9
    """
    if seen.window is None or (state.best is not None and state.best >= seen.window):
        return state
    return replace(state, best=seen.window)


def not_ahead(state: State, now: float) -> State:
    """Return the state with no time after `now`: a clock that was set back must not delay refreshes by as much.

    >>> not_ahead(State(since=5, done_at=900.0, tried_at=1000.0, failures=1), 100)
    State(since=5, done_at=100, tried_at=100, failures=1, cut_seq=0, alarms=0, best=None, reason='')
    """
    if max(state.since, state.done_at or 0.0, state.tried_at or 0.0) <= now:
        return state
    done_at, tried_at = (None if at is None else min(at, now) for at in (state.done_at, state.tried_at))
    return replace(state, since=min(state.since, now), done_at=done_at, tried_at=tried_at)


def due(rules: Rules, state: State, seen: Seen, *, now: float) -> Due | None:
    """Say whether a refresh is to begin now, and why; the first rule that holds is named.

    A failed one is due again when its wait is over, if a rule holds then; nothing that it was for has been counted as done.

    >>> due(Rules(labels=100), State(since=0), Seen(new_labels=120), now=5)
    Due(trigger='labels', why='120 labels since the last refresh (a refresh after 100)')
    """
    if state.failures and now < retry_at(rules, state):
        return None
    if not state.failures and state.done_at is not None and now < state.done_at + rules.pause_s:
        return None
    if seen.new_labels < max(1, rules.least_labels):
        return None
    return _schedule(rules, state, now) or _labels(rules, seen) or _drift(rules, state, seen) or _fall(rules, state, seen)


def _schedule(rules: Rules, state: State, now: float) -> Due | None:
    last = state.since if state.done_at is None else state.done_at
    if not rules.every_s or now < last + rules.every_s:
        return None
    return Due("schedule", f"{duration(now - last)} since the last refresh (a refresh every {duration(rules.every_s)})")


def _labels(rules: Rules, seen: Seen) -> Due | None:
    if not rules.labels or seen.new_labels < rules.labels:
        return None
    return Due("labels", f"{seen.new_labels} labels since the last refresh (a refresh after {rules.labels})")


def _drift(rules: Rules, state: State, seen: Seen) -> Due | None:
    if not rules.on_drift or seen.alarms <= state.alarms:
        return None
    return Due("drift", f"drift alarm {seen.alarms} has been raised since the last refresh")


def _fall(rules: Rules, state: State, seen: Seen) -> Due | None:
    known = [value for value in (state.best, seen.overall) if value is not None]
    if not rules.fall or seen.window is None or not known or seen.window > max(known) - rules.fall:
        return None
    return Due("fall", f"accuracy over the window is {seen.window:.3f}, and was {max(known):.3f} (a refresh at a fall of {rules.fall:g})")


def retry_at(rules: Rules, state: State) -> float:
    """Return when a failed refresh may be tried again.

    >>> [retry_at(Rules(retry_s=60), State(since=0, tried_at=0.0, failures=n)) for n in (1, 2, 3)]
    [60.0, 120.0, 240.0]
    """
    doublings = min(state.failures - 1, 32)
    return (state.tried_at or 0.0) + min(rules.retry_s * 2.0**doublings, rules.retry_longest_s)


def ended(state: State, outcome: Outcome, *, begun: Seen, now: float, why: str = "") -> State:
    """Return the state after a refresh that began when `begun` was seen; one that failed has changed nothing but the wait."""
    if outcome == "failed":
        return replace(state, tried_at=now, failures=state.failures + 1, reason=why)
    return replace(state, done_at=now, tried_at=now, failures=0, cut_seq=begun.seq, alarms=begun.alarms, best=None, reason="")


def stale(rules: Rules, state: State, seen: Seen, *, now: float) -> list[Stale]:
    """Return what has not come for too long.

    >>> [found.kind for found in stale(Rules(stale_labels_s=60), State(since=0), Seen(last_label_at=10), now=80)]
    ['labels_stale']
    """
    found: list[Stale] = []
    label_at = state.since if seen.last_label_at is None else seen.last_label_at
    if rules.stale_labels_s and now - label_at > rules.stale_labels_s:
        found.append(Stale("labels_stale", f"no label has been learned for {duration(now - label_at)}"))
    done_at = state.since if state.done_at is None else state.done_at
    if rules.stale_refresh_s and now - done_at > rules.stale_refresh_s:
        found.append(Stale("refresh_stale", f"no refresh has come to its end for {duration(now - done_at)}"))
    return found


def duration(seconds: float) -> str:
    """Return a duration for people.

    >>> duration(42.4), duration(600), duration(9000), duration(200_000)
    ('42 s', '10 min', '2.5 h', '2.3 days')
    """
    for least, unit, name in ((2 * 86_400, 86_400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"
