"""One run of one fault: load, harm, recovery, and everything that must hold afterwards."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec

from schemas.topics import Topic
from stack.embedded import Stack
from stack.flink_rest import FlinkRest, FlinkUnreachable
from stack.schedule import Plan
from store.committed import Ends, end_offsets
from store.connect import KafkaUnavailable
from tests.faults import checks
from tests.faults.campaign import Fault
from tests.faults.load import Load
from tests.faults.redis_check import redis_equals_a_recount
from tests.faults.watch import Watch

RATE = 200.0
WARM_EVENTS, WARM_LABELS = 800, 300
CHECKPOINTS_AFTER = 2
RECOVERY_S = 240.0
SETTLE_S = 120.0
STEADY_GAP_S = 5.0
"""No gap in an output that must go on may be longer: a checkpoint interval is 0.5 s, and the machine may be busy."""


class Result(msgspec.Struct, frozen=True):
    """What a run gave.

    Attributes:
        fault: its name.
        violations: in words.
        recovery_s: seconds from the end of the harm to the end of the silence after it; None if nothing came.
        steady: predictions committed while the harm lasted, as a share of the events sent meanwhile, where they were to go on.
        events: records of events that were sent, also broken ones.
        labels: records of labels.
        time: epoch seconds of the beginning.
    """

    fault: str
    violations: list[str]
    recovery_s: float | None
    steady: float | None
    events: int
    labels: int
    time: float


def run_fault(stack: Stack, fault: Fault, *, seed: int) -> Result:
    """Run the fault under load and judge what is left."""
    began = time.time()
    ends = end_offsets(stack.settings.kafka, [stack.settings.topic_prefix + topic for topic in Topic])
    plan = Plan(rate=RATE, label_delay_s=1.0, seed=seed, out_of_order=0.2, duplicates=0.1, corrections=0.2)
    watch = Watch(stack.settings, ends, stack.addresses["api"])
    load = Load(stack.settings, plan, seed=seed)
    watch.start()
    load.start()
    try:
        problems, recovery, steady = _harm(stack, fault, watch, load)
        load.stop()
        problems += _settled(load, watch)
    finally:
        load.abandon()
        watch.stop()
    problems += judge(stack, load, ends, watch)
    events = sum(entry.topic is Topic.EVENTS for entry in load.ledger)
    return Result(fault.name, problems, recovery, steady, events, len(load.ledger) - events, began)


def _harm(stack: Stack, fault: Fault, watch: Watch, load: Load) -> tuple[list[str], float | None, float | None]:
    """Wait until all is in motion, inject, and wait until it is again; return what did not come, recovery time and steady share."""
    in_motion = _within(
        60, lambda: len(watch.records[Topic.PREDICTIONS]) > WARM_EVENTS and len(watch.records[Topic.MODEL_LOG]) > WARM_LABELS
    )
    if not in_motion:
        return ["E: nothing came through before the fault"], None, None
    before, sent, answered = time.monotonic(), _events(load), len(watch.records[Topic.PREDICTIONS])
    over = fault.inject(stack)
    steady = (len(watch.records[Topic.PREDICTIONS]) - answered) / max(1, _events(load) - sent)
    # What was on its way when the harm was done is not new: the first output after the longest silence is.
    _within(RECOVERY_S, lambda: watch.first_after(fault.output, over + 1.0) is not None)
    problems = (
        []
        if _within(RECOVERY_S, lambda: _checkpoints_after(stack, time.time() - (time.monotonic() - over)))
        else ["E: no two checkpoints after it"]
    )
    time.sleep(2)
    problems += [
        f"steady: {gap:.1f} s without {what}" for what in fault.steady if (gap := _longest_gap(watch, what, before)) > STEADY_GAP_S
    ]
    recovery = _recovery(watch.times[fault.output], over)
    problems += ["E: no new output"] if recovery is None else []
    return problems, recovery, round(steady, 3) if fault.steady and over - before > 1 else None


def _events(load: Load) -> int:
    return sum(entry.topic is Topic.EVENTS and not entry.broken for entry in list(load.ledger))


def _recovery(times: list[float], over: float) -> float | None:
    """Return the seconds from the end of the harm to the end of the longest silence that reaches beyond it."""
    silences = [(later - max(earlier, over), later - over) for earlier, later in pairwise(list(times)) if later > over]
    return round(max(silences)[1], 1) if silences else None


def _longest_gap(watch: Watch, what: str, since: float) -> float:
    times = [at for at in list(watch.times[what]) if at > since]
    return max((later - earlier for earlier, later in pairwise(times)), default=time.monotonic() - since)


def _checkpoints_after(stack: Stack, moment: float) -> bool:
    """Whether every job has completed two checkpoints that were begun after the moment (epoch seconds)."""
    rest = FlinkRest(stack.addresses["flink_rest"])
    try:
        jobs = [job for job, seen in rest.jobs().items() if not seen.over]
        return len(jobs) == 3 and all(rest.checkpoints_since(job, int(moment * 1000)) >= CHECKPOINTS_AFTER for job in jobs)
    except FlinkUnreachable:
        return False


def _settled(load: Load, watch: Watch) -> list[str]:
    """Wait until everything that was sent is answered; return what is not."""

    def missing() -> tuple[int, int]:
        answers = len(watch.records[Topic.PREDICTIONS]) + len(watch.records[Topic.DEAD_LETTERS])
        final = sum(b'"state":"waiting"' not in record.value for record in list(watch.records[Topic.LABEL_STATES]))
        labels = sum(entry.topic is Topic.FEEDBACK for entry in load.ledger)
        broken_labels = sum(entry.topic is Topic.FEEDBACK and entry.broken for entry in load.ledger)
        return len(load.ledger) - labels + broken_labels - answers, labels - final

    if _within(SETTLE_S, lambda: max(missing()) <= 0):
        return []
    events, labels = missing()
    return [f"A: {events} events have no answer after {SETTLE_S:.0f} s"] * (events > 0) + [f"B: {labels} labels have no final state"] * (
        labels > 0
    )


def judge(stack: Stack, load: Load, ends: Ends, watch: Watch) -> list[str]:
    """Return every violation of A to D and F, in words."""
    settings = stack.settings
    families: list[Callable[[], Iterator[str]]] = [
        lambda: checks.events_are_answered_once(settings, load.ledger, ends, watch),
        lambda: checks.labels_are_accounted_for(settings, load.ledger, ends),
        lambda: checks.models_equal_a_replay(settings),
        lambda: redis_equals_a_recount(settings, load.run_id, ends),
        lambda: checks.nothing_is_left_behind(stack),
    ]
    found: list[str] = []
    for family in families:
        try:
            found += checks.some(family())
        except KafkaUnavailable as error:
            found.append(f"the topics cannot be read: {error}")
    return found


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table, a row for each fault in the order of its first run."""
    rows = ["| fault | runs | violations | recovery, median | maximum | predictions meanwhile |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(result.fault for result in results):
        mine = [result for result in results if result.fault == name]
        times = [result.recovery_s for result in mine if result.recovery_s is not None]
        figures = f"{statistics.median(times):.1f} s | {max(times):.1f} s" if times else "- | -"
        shares = [result.steady for result in mine if result.steady is not None]
        meanwhile = f"{min(shares):.0%} of the events" if shares else ""
        rows.append(f"| {name} | {len(mine)} | {sum(len(result.violations) for result in mine)} | {figures} | {meanwhile} |")
    return "\n".join(rows) + "\n"
