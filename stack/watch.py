"""What is said between a measured run and its observer: what to watch, and what has been seen."""

from __future__ import annotations

import msgspec

from store.committed import Ends


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What to watch: one run's event ids (`<run id>-<number>`) of one task."""

    kafka: str
    redis: str
    topic_prefix: str
    task: str
    run_id: str
    recent: int
    out: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A recent prediction, for people to look at."""

    text: str
    label: str | None
    probability: float


class Status(msgspec.Struct, kw_only=True):
    """What has been seen so far.

    Attributes:
        ends: where the topics ended when watching began.
        predictions: different events of the run with a prediction.
        records: records of `events` of the run with a prediction; an event that was sent twice has two.
        visible: different events of the run that are in Redis.
        seq: of the newest model that has predicted.
        line: of that model.
        states: feedback records of the run in each state.
        dead_letters: refused records of the run by topic.
        accuracy: of the predictions that labels have scored.
        accuracy_window: the same over the newest labels.
        latest: the newest predictions.
        away: the servers that do not answer just now.
    """

    ends: Ends = {}
    predictions: int = 0
    records: int = 0
    visible: int = 0
    seq: int = 0
    line: str = ""
    states: dict[str, int] = {}
    dead_letters: dict[str, int] = {}
    accuracy: float | None = None
    accuracy_window: float | None = None
    latest: list[Shown] = []
    away: list[str] = []


def run_number(event_id: str, run_prefix: str) -> int:
    """Return the number of an event of the run, or -1 for an event of others.

    >>> run_number("r1-17", "r1-"), run_number("r1-x", "r1-"), run_number("7", "r1-")
    (17, -1, -1)
    """
    number = event_id[len(run_prefix) :] if event_id.startswith(run_prefix) else ""
    return int(number) if number.isascii() and number.isdecimal() else -1
