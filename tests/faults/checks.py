"""What must hold after a fault, judged from outside: from the ledger of what was sent, the committed topics, Redis and the processes."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from kafka.consumer.fetcher import ConsumerRecord

from schemas.settings import Settings
from schemas.topics import Topic
from stack.audit import audit
from stack.embedded import Stack
from stack.state import StackState
from store.committed import Ends, open_transactions, read_committed
from tests.faults.load import Acknowledged
from tests.faults.watch import Watch

Place = tuple[int, int]

FINAL = {"trained", "duplicate", "corrected", "marked", "expired", "orphan", "rejected"}
TAUGHT = {"trained", "corrected"}
SHOWN = 5
HELD_S = 15.0
"""A transaction that nobody ends is aborted by the broker after minutes; one that is under way ends with its checkpoint."""


def read(settings: Settings, topic: Topic, ends: Ends) -> list[ConsumerRecord]:
    """Return what a transactional reader finds in a topic from where it ended when the run began."""
    name = settings.topic_prefix + topic
    return [record for batch in read_committed(settings.kafka, name, ends[name]) for record in batch]


def some(problems: Iterable[str]) -> list[str]:
    """Return the first few, and how many more there are."""
    every = list(problems)
    return every[:SHOWN] + ([f"… and {len(every) - SHOWN} more"] if len(every) > SHOWN else [])


def events_are_answered_once(settings: Settings, ledger: list[Acknowledged], ends: Ends, watch: Watch) -> Iterator[str]:
    """A: predictions and dead letters together are the events, none twice; whoever read along has seen the same."""
    predictions = read(settings, Topic.PREDICTIONS, ends)
    letters = [json.loads(record.value) for record in read(settings, Topic.DEAD_LETTERS, ends)]
    sources = Counter(place(json.loads(record.value)["source"]) for record in predictions)
    refused = Counter(place(letter) for letter in letters if letter["topic"] == settings.topic_prefix + Topic.EVENTS)
    events = {(entry.partition, entry.offset): entry for entry in ledger if entry.topic is Topic.EVENTS}
    for at, entry in events.items():
        expected = (0, 1) if entry.broken else (1, 0)
        if (sources[at], refused[at]) != expected:
            yield f"A: event at {at}: {sources[at]} predictions, {refused[at]} dead letters"
    for at in (sources.keys() | refused.keys()) - events.keys():
        yield f"A: an answer to {at}, where the generator has sent nothing"
    seen = Counter((record.partition, record.offset) for record in watch.records[Topic.PREDICTIONS])
    final = Counter((record.partition, record.offset) for record in predictions)
    if seen != final:
        yield f"A: the concurrent reader saw {seen.total()} predictions, the final one {final.total()}"


def labels_are_accounted_for(settings: Settings, ledger: list[Acknowledged], ends: Ends) -> Iterator[str]:
    """B: every label has one final state, the expected one, and what is in the model log is what is said to be learned."""
    changes: dict[Place, list[str]] = defaultdict(list)
    for record in read(settings, Topic.LABEL_STATES, ends):
        state = json.loads(record.value)
        changes[place(state["feedback"]["at"])].append(state["state"])
    labels = {(entry.partition, entry.offset): entry for entry in ledger if entry.topic is Topic.FEEDBACK}
    expected = expected_states(labels)
    for at in labels:
        found = changes.get(at, [])
        if found not in ([expected[at]], ["waiting", expected[at]]):
            yield f"B: label at {at} went through {found}, expected {expected[at]}"
    for at in changes.keys() - labels.keys():
        yield f"B: a state of {at}, where the generator has sent nothing"
    entries = [json.loads(record.value) for record in read(settings, Topic.MODEL_LOG, ends)]
    learned = Counter(place(entry["feedback"]["at"]) for entry in entries if entry["kind"] == "label")
    taught = Counter(at for at, found in changes.items() if found[-1] in TAUGHT)
    for at in sorted(learned.keys() | taught.keys()):
        if learned[at] != taught[at]:
            yield f"B: label at {at} is {learned[at]} times in the model log, its state says {taught[at]}"


def expected_states(labels: dict[Place, Acknowledged]) -> dict[Place, str]:
    """Return the state of each label by the rules: the first teaches, the same again is a duplicate, another one corrects."""
    standing: dict[str, str] = {}
    expected: dict[Place, str] = {}
    for at, entry in sorted(labels.items()):
        before = standing.get(entry.event_id)
        if entry.broken or entry.label is None:
            expected[at] = "rejected"
            continue
        expected[at] = "trained" if before is None else "duplicate" if before == entry.label else "corrected"
        standing[entry.event_id] = entry.label
    return expected


def models_equal_a_replay(settings: Settings) -> Iterator[str]:
    """C: every snapshot has the bytes of a replay of the model log, and every prediction is what the log says."""
    result = audit(settings, "default")
    yield from (f"C: {difference}" for difference in result.differences)
    if not result.snapshots:
        yield "C: no snapshot was there to be compared"


def nothing_is_left_behind(stack: Stack) -> Iterator[str]:
    """F: no process but the stack's own, no transaction open, no commit failed."""
    settings, state = stack.settings, _known_state(stack)
    own = {state.pid, *stack.pids().values()}
    yield from (f"F: orphan process {line}" for line in processes_of(stack.folder.root, without=own))
    if held := _held_open(settings):
        yield f"F: transactions are open: {held}"
    for job in state.jobs:
        if job.unanswered or job.checking:
            yield f"F: {job.unanswered} records of {job.job} are without output, says its status" + " (not known yet)" * job.checking


def _held_open(settings: Settings) -> Ends:
    """Return what stays open for more than a few checkpoints: the snapshot that follows the last labels may be written just now."""
    deadline = time.monotonic() + HELD_S
    topics = [settings.topic_prefix + topic for topic in Topic]
    while (held := open_transactions(settings.kafka, topics)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return held


def _known_state(stack: Stack) -> StackState:
    """Return the state of the stack when nothing is being looked into any more; that begins some seconds after a recovery."""
    deadline = time.monotonic() + 180
    state = stack.state()
    while any(job.checking for job in state.jobs) and time.monotonic() < deadline:
        time.sleep(0.5)
        state = stack.state()
    return state


def processes_of(root: Path, *, without: set[int]) -> list[str]:
    """Return the processes that name the data folder in their command or environment, other than these and what they have started."""
    allowed = {child.pid for pid in without if psutil.pid_exists(pid) for child in psutil.Process(pid).children(recursive=True)} | without
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(root) in line and process.pid not in allowed and "pytest" not in line:
            found.append(f"{process.pid} {line[:120]}")
    return found


def place(at: dict[str, int]) -> Place:
    """Return partition and offset of a position as JSON."""
    return at["partition"], at["offset"]
