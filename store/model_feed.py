"""What the model log says of lines, kept in memory and current: changes and counts, of labels nothing but how many and when."""

from __future__ import annotations

import logging
import threading
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.log import AnyChange, AnyLogEntry, LabelEntry, RefusalEntry
from schemas.parsing import parse_log_entry, record_parser
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable
from store.follow import Follower

log = logging.getLogger(__name__)

REFUSALS_KEPT = 1000
CHANGES_KEPT = 20_000
_OTHERS_KEPT = 500_000
_LABEL = b'{"kind":"label"'
"""How the entry of a label begins, as our encoder writes it; one that begins otherwise is parsed whole, which is slower and no error."""

_POLL_MS = 500
_SOON_MS = 20
"""… while somebody loads, who is to be looked after soon."""
_TURN_S = 0.002
_LONGEST_WAIT_S = 5.0


class NotReadYet(Exception):
    """The model log is still being read for the first time, or could not be read yet."""


class Listener(Protocol):
    """Wants the entries of one task that come after it was told to begin. Called by the feed's thread (see `store.live_replica`)."""

    @property
    def busy(self) -> bool: ...  # noqa: D102 - whether to call `step` often
    def begin(self) -> None: ...  # noqa: D102 - the log can be read: what it holds up to here will not be given
    def away(self, why: str) -> None: ...  # noqa: D102 - the log cannot be read now
    def take(self, entry: AnyLogEntry) -> None: ...  # noqa: D102 - an entry that came after that
    def step(self, ends_at: int) -> None: ...  # noqa: D102 - called after each look at the log, with the last seq known
    def forget(self, trouble: str = "") -> None: ...  # noqa: D102 - what was given counts no more; why, if it is for people


class _Head(msgspec.Struct, frozen=True):
    """What is looked at of a label."""

    seq: int
    time: int


_parse_head = record_parser(_Head)


class TaskLog:
    """What is known of one task's log. Memory is bounded: the newest changes and refusals, and the places of what is no label.

    Attributes:
        seq: of the last entry; 0 before the first.
        last_label_at: time of the last label, epoch ms; None before the first.
        changes: entries that changed what is served or watched, oldest first.
        refusals: refused commands, oldest first.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.last_label_at: int | None = None
        self.changes: list[AnyChange] = []
        self.refusals: list[RefusalEntry] = []
        self._answers: OrderedDict[str, AnyChange] = OrderedDict()
        self._others = array("q")
        self._before: int | None = None

    def take(self, values: Sequence[bytes]) -> None:
        """Take in some entries, in order; of labels only the last is looked at."""
        if self._before is None and values:
            # The log may begin later than it once did: what its retention has removed is there no more to be counted.
            self._before = _parse_head(values[0]).seq - 1
        last_label: bytes | None = None
        for value in values:
            if value.startswith(_LABEL):
                last_label = value
            else:
                self._take_other(value)
        if last_label is not None:
            head = _parse_head(last_label)
            self.seq, self.last_label_at = max(self.seq, head.seq), head.time

    def _take_other(self, value: bytes) -> None:
        entry = parse_log_entry(value)
        self.seq = max(self.seq, entry.seq)
        if isinstance(entry, AnyChange):
            self._take_change(entry)
        elif isinstance(entry, LabelEntry):
            self.last_label_at = entry.time
            return
        self._others.append(entry.seq)
        if len(self._others) > _OTHERS_KEPT:
            del self._others[: _OTHERS_KEPT // 2]

    def _take_change(self, entry: AnyChange) -> None:
        kept: list[AnyChange] = self.changes
        if isinstance(entry, RefusalEntry):
            self.refusals.append(entry)
            del self.refusals[:-REFUSALS_KEPT]
        else:
            kept.append(entry)
            del kept[:-CHANGES_KEPT]
        if entry.command_id is not None:
            # The first counts: a producer that sends a command again has it refused, since it is done by then.
            self._answers.setdefault(entry.command_id, entry)
            if len(self._answers) > CHANGES_KEPT:
                self._answers.popitem(last=False)

    def answer_to(self, command_id: str) -> AnyChange | None:
        """Return the entry that answers a command, if there is one."""
        return self._answers.get(command_id)

    def labels_after(self, seq: int) -> int:
        """Return how many labels the log holds after entry `seq`."""
        seq = max(seq, self._before or 0)
        others = len(self._others) - bisect_right(self._others, seq)
        return max(0, self.seq - seq - others)

    def copy(self) -> TaskLog:
        """Return one that does not change any more, without what `labels_after` and `answer_to` need."""
        copied = TaskLog()
        copied.seq, copied.last_label_at = self.seq, self.last_label_at
        copied.changes, copied.refusals = list(self.changes), list(self.refusals)
        return copied


class TaskLogs:
    """The logs of all tasks, filled by a `Follower`. Use it from one thread, or under a lock."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.tasks = {task: TaskLog() for task in self._tasks}

    def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Take in records of the model log, of one partition, in order; their keys name their tasks."""
        values: dict[str, list[bytes]] = {}
        for record in records:
            if record.key is not None and record.value is not None:
                values.setdefault(record.key.decode(errors="replace"), []).append(record.value)
        for task, found in values.items():
            if task in self.tasks:
                self.tasks[task].take(found)


class FeedState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the log is read: whether once to its end, how many records are known and not read, the last seq by task; in words."""

    is_read: bool
    behind: int
    seqs: dict[str, int]
    detail: str


class ModelFeed:
    """Follows the model log in a thread of its own, so that nobody who asks has to wait for Kafka. Safe to use from several threads.

    Args:
        settings: where the log is.
        listeners: who wants the entries of a task as well, by task: the log is read once for all.
    """

    def __init__(self, settings: Settings, listeners: Mapping[str, Listener] | None = None) -> None:
        self._logs = TaskLogs(settings.tasks)
        self._listeners = listeners or {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._follower = Follower(settings.kafka, [settings.topic_prefix + Topic.MODEL_LOG], self._take, self._forget)
        self._trouble = ""
        self._ready = False
        self._stale_since: int | None = None
        self._thread = threading.Thread(target=self._run, name="model-feed", daemon=True)

    @property
    def stale_since(self) -> int | None:
        """Since when (epoch ms) the log cannot be read, so that what is told may be out of date; None while it can."""
        return self._stale_since

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, if it was started."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_WAIT_S * 2)

    def task(self, task: str) -> TaskLog:
        """Return what is known of a task's log now.

        Raises:
            NotReadYet: until the log was read once.
        """
        with self._lock:
            self._check()
            return self._logs.tasks[task].copy()

    def answer_to(self, command_id: str) -> AnyChange | None:
        """Return the entry that answers a command, if there is one (raises `NotReadYet`)."""
        with self._lock:
            self._check()
            found = (log_.answer_to(command_id) for log_ in self._logs.tasks.values())
            return next((entry for entry in found if entry is not None), None)

    def state(self) -> FeedState:
        """Return how far the log is read; takes no time."""
        with self._lock:
            seqs = {task: log_.seq for task, log_ in self._logs.tasks.items()}
            detail = f"read to {', '.join(f'seq {seq} of {task}' for task, seq in seqs.items())}" if self._ready else self._not_read()
            return FeedState(is_read=self._ready, behind=self._follower.behind, seqs=seqs, detail=detail)

    def _check(self) -> None:
        if not self._ready:
            raise NotReadYet(self._not_read())

    def _not_read(self) -> str:
        read, total = self._follower.progress
        return self._trouble or f"the model log is being read: {read} of {total} records"

    def _take(self, _: str, records: list[ConsumerRecord]) -> None:
        with self._lock:
            self._logs.take(records)
        if self._listeners:
            self._pass_on([record.value for record in records if record.value is not None and self._follower.is_new(record)])

    def _pass_on(self, values: Sequence[bytes]) -> None:
        for value in values:
            entry = parse_log_entry(value)
            listener = self._listeners.get(entry.task)
            if listener is not None:
                listener.take(entry)

    def _forget(self) -> None:
        with self._lock:
            self._logs.forget()
            self._ready = False
        for listener in self._listeners.values():
            listener.forget()

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            try:
                self._look()
                # While a long log is read for the first time, others in this process get their turn.
                wait_s = 0.0 if self._ready else _TURN_S
            except KafkaUnavailable as error:
                self._trouble = str(error)
                self._stale_since = self._stale_since or time.time_ns() // 1_000_000
                for listener in self._listeners.values():
                    listener.away(self._trouble)
                wait_s = min(_LONGEST_WAIT_S, max(0.5, wait_s * 2))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._give_up(error)
                break
        self._follower.close()

    def _look(self) -> None:
        """Take in what has come, and let the listeners do what is due."""
        listeners = self._listeners
        self._follower.poll(_SOON_MS if any(listener.busy for listener in listeners.values()) else _POLL_MS)
        self._trouble, self._stale_since = "", None
        self._ready = self._ready or self._follower.caught_up
        for task, listener in listeners.items():
            listener.begin()
            listener.step(self._logs.tasks[task].seq)

    def _give_up(self, error: Exception) -> None:
        """Say that something else than ours is in the log.

        It is not passed over: a change that is not seen would make every answer wrong.
        """
        advice = "nobody but the learner may write there. Restore the topic, or use another MILLRACE_TOPIC_PREFIX, and start this again"
        self._trouble, self._ready = f"the model log holds something that is no entry: {error}; {advice}", False
        log.error("%s", self._trouble)
        for listener in self._listeners.values():
            listener.forget(self._trouble)
