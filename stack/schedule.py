"""What is sent, and when: rows become events and labels in order of due time, with faults of order and repetition where they are asked for.

Every choice is drawn from generators seeded by the plan, one for each kind of fault: the same plan gives the same sends, and
a fault that is switched on does not change what the others choose.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from schemas.records import DEFAULT_TASK, Event, Feedback
from schemas.topics import Topic
from store.labelled_files import Row

LABEL_SOURCE = "replay"
NEAR = 3
"""An event out of order changes places with one of the next so many."""
LATER_S = 1.0
"""What comes later than it should comes up to so much later, or up to the delay of labels if that is longer."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows are sent.

    Attributes:
        rate: events a second; 0 is as fast as possible.
        label_fraction: the share of the labelled rows whose labels are sent.
        label_delay_s: how long after its event a label is sent.
        seed: of all choices.
        limit: at most so many events; None is all.
        task: for which the events are.
        out_of_order: the share of the labels that are sent before their event, of the others that come late, and of the
            events that change places with a near one.
        duplicates: the share of the event records that are sent twice, and of the labels that are sent again.
        corrections: the share of the labelled events that first get a wrong label.
    """

    rate: float = 0.0
    label_fraction: float = 1.0
    label_delay_s: float = 2.0
    seed: int = 0
    limit: int | None = None
    task: str = DEFAULT_TASK
    out_of_order: float = 0.0
    duplicates: float = 0.0
    corrections: float = 0.0


class Send(msgspec.Struct, frozen=True):
    """A record and when to send it, in seconds since the start; `again` if a record with its event id went to its topic before."""

    due: float
    topic: Topic
    record: Event | Feedback
    again: bool = False


def sends(rows: Iterable[Row], plan: Plan, run_id: str, clock: Callable[[], float]) -> Iterator[Send]:
    """Yield events in the order of `rows`, merged with labels, in order of due time.

    The n-th event is due at n / rate; its label, if the seeded draw takes it, `label_delay_s` later. Only at full speed
    (rate 0) is the clock asked, for then an event is due when it is its turn. Memory holds what is due within the longest
    delay. Records of one event are due in the order in which they are meant, whatever the faults.

    >>> rows = [Row("a", "x"), Row("b", "y"), Row("c", "x")]
    >>> plan = Plan(rate=10, label_fraction=1, label_delay_s=0.15)
    >>> [(s.due, s.topic.value, s.record.event_id) for s in sends(rows, plan, "r", lambda: 0.0)][:4]
    [(0.0, 'events', 'r-0'), (0.1, 'events', 'r-1'), (0.15, 'feedback', 'r-0'), (0.2, 'events', 'r-2')]
    """
    pending = _Pending()
    faults = _Faults(plan, run_id)
    for turn, item in enumerate(_swapped(_chosen(islice(rows, plan.limit), plan), plan)):
        due = turn / plan.rate if plan.rate else clock()
        yield from pending.until(due)
        for send in faults.sends_of(item, due):
            pending.add(send)
        yield from pending.until(due)
    yield from pending.until(float("inf"))


class _Item(msgspec.Struct, frozen=True):
    """A row, its number in the file, the label to send for it, and the wrong label to send before that one."""

    number: int
    row: Row
    label: str | None
    wrong: str | None


class _Dice:
    """The draws of one kind of fault."""

    def __init__(self, share: float, plan: Plan, name: str) -> None:
        self._share = share
        self._random = random.Random(f"{plan.seed} {name}")

    def hit(self) -> bool:
        return self._share > 0 and self._random.random() < self._share

    def half(self) -> bool:
        return self._random.random() < 0.5

    def up_to(self, seconds: float) -> float:
        return self._random.uniform(0.0, seconds)

    def below(self, end: int) -> int:
        return self._random.randrange(end)


class _Pending:
    """What waits for its time, as a heap; of two that are due together the one that was added first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Send]] = []
        self._added = 0

    def add(self, send: Send) -> None:
        heapq.heappush(self._heap, (send.due, self._added, send))
        self._added += 1

    def until(self, due: float) -> Iterator[Send]:
        while self._heap and self._heap[0][0] <= due:
            yield heapq.heappop(self._heap)[2]


def _chosen(rows: Iterable[Row], plan: Plan) -> Iterator[_Item]:
    """Choose, in the order of the file, whose labels are sent, and which of them are wrong at first."""
    draw = random.Random(plan.seed).random
    dice = _Dice(plan.corrections, plan, "corrections")
    classes: dict[str, None] = {}
    for number, row in enumerate(rows):
        if row.label is not None:
            classes[row.label] = None
        label = row.label if row.label is not None and draw() < plan.label_fraction else None
        wrong = _another(label, list(classes), dice) if label is not None and dice.hit() else None
        yield _Item(number, row, label, wrong)


def _another(label: str, classes: list[str], dice: _Dice) -> str | None:
    """Return one of the classes that is not `label`; None if there is no other one yet."""
    others = [c for c in classes if c != label]
    return others[dice.below(len(others))] if others else None


def _swapped(items: Iterator[_Item], plan: Plan) -> Iterator[_Item]:
    """Let some items change places with a near one."""
    dice = _Dice(plan.out_of_order, plan, "swaps")
    near = deque(islice(items, NEAR + 1 if plan.out_of_order else 1))
    while near:
        if len(near) > 1 and dice.hit():
            other = 1 + dice.below(len(near) - 1)
            near[0], near[other] = near[other], near[0]
        yield near.popleft()
        near.extend(islice(items, 1))


class _Faults:
    """Makes the records of each item, with their faults."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self._plan = plan
        self._run_id = run_id
        self._later_s = max(plan.label_delay_s, LATER_S)
        self._order = _Dice(plan.out_of_order, plan, "order")
        self._events = _Dice(plan.duplicates, plan, "events again")
        self._labels = _Dice(plan.duplicates, plan, "labels again")
        self._corrections = _Dice(plan.corrections, plan, "corrections later")
        self._other_text: str | None = None

    def sends_of(self, item: _Item, due: float) -> Iterator[Send]:
        """Yield the item's records, whose turn is at `due`; what is due together comes in the right order."""
        plan, order = self._plan, self._order
        if item.label is not None and order.hit():
            # The event is held back, rather than the label brought forward: that needs no look ahead, at any rate.
            yield from self._labels_of(item, due)
            yield from self._events_of(item, due + order.up_to(plan.label_delay_s))
            return
        yield from self._events_of(item, due)
        if item.label is not None:
            yield from self._labels_of(item, due + plan.label_delay_s + (order.up_to(self._later_s) if order.hit() else 0.0))

    def _events_of(self, item: _Item, due: float) -> Iterator[Send]:
        row, dice = item.row, self._events
        event = Event(event_id=self._id(item), text=row.text, ts=row.ts, task=self._plan.task, meta=row.meta)
        yield Send(due, Topic.EVENTS, event)
        if dice.hit():
            other = row.text if self._other_text is None or dice.half() else self._other_text
            yield Send(due + dice.up_to(self._later_s), Topic.EVENTS, msgspec.structs.replace(event, text=other), again=True)
        self._other_text = row.text

    def _labels_of(self, item: _Item, due: float) -> Iterator[Send]:
        labels = [label for label in (item.wrong, item.label) if label is not None]
        for place, label in enumerate(labels):
            following = due + (self._corrections if len(labels) > 1 else self._labels).up_to(self._later_s)
            feedback = Feedback(event_id=self._id(item), label=label, task=self._plan.task, source=LABEL_SOURCE)
            yield Send(due, Topic.FEEDBACK, feedback, again=place > 0)
            yield from self._again(feedback, due, following)
            due = following

    def _again(self, feedback: Feedback, after: float, before: float) -> Iterator[Send]:
        """Yield the label once more, perhaps, before the next one of its event."""
        dice = self._labels
        if not dice.hit():
            return
        if dice.half():
            feedback = msgspec.structs.replace(feedback, feedback_id=f"{feedback.event_id}-again")
        yield Send(after + dice.up_to(before - after), Topic.FEEDBACK, feedback, again=True)

    def _id(self, item: _Item) -> str:
        return f"{self._run_id}-{item.number}"
