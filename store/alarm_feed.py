"""The newest drift alarms of each task, followed in Kafka by a thread of its own, so that nobody who asks has to wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from schemas.parsing import record_parser
from schemas.records import Alarm
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import KafkaUnavailable
from store.follow import Follower
from store.model_feed import NotReadYet

log = logging.getLogger(__name__)

ALARMS_KEPT = 1000
"""Of each task, the newest ones."""

_POLL_MS = 500
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 5.0
_parse = record_parser(Alarm)


class AlarmFeed:
    """Knows the alarms. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._alarms: dict[str, deque[Alarm]] = {task: deque(maxlen=ALARMS_KEPT) for task in settings.tasks}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._follower = Follower(settings.kafka, [settings.topic_prefix + Topic.ALARMS], self._take, self._forget)
        self._trouble = ""
        self._ready = False
        self._stale_since: int | None = None
        self._thread = threading.Thread(target=self._run, name="alarm-feed", daemon=True)

    @property
    def stale_since(self) -> int | None:
        """Since when (epoch ms) the topic cannot be read, so that an alarm may be missing; None while it can."""
        return self._stale_since

    def start(self) -> None:
        """Begin to follow; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, if it was started."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_WAIT_S * 2)

    def newest(self, task: str, limit: int) -> list[Alarm]:
        """Return a task's alarms, newest first.

        Raises:
            NotReadYet: until the topic was read once.
        """
        with self._lock:
            if not self._ready:
                raise NotReadYet(self._trouble or "the topic of alarms is being read")
            return list(self._alarms[task])[: -limit - 1 : -1]

    def _take(self, _: str, records: Sequence[ConsumerRecord]) -> None:
        found = [_parse(record.value) for record in records if record.value is not None]
        with self._lock:
            for alarm in found:
                if alarm.task in self._alarms:
                    self._alarms[alarm.task].append(alarm)

    def _forget(self) -> None:
        with self._lock:
            self._ready = False
            for alarms in self._alarms.values():
                alarms.clear()

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            try:
                self._follower.poll(_POLL_MS)
                self._trouble, self._stale_since, wait_s = "", None, 0.0
                self._ready = self._ready or self._follower.caught_up
            except KafkaUnavailable as error:
                self._trouble = str(error)
                self._stale_since = self._stale_since or time.time_ns() // 1_000_000
                wait_s = min(_LONGEST_WAIT_S, max(_FIRST_WAIT_S, wait_s * 2))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._trouble, self._ready = f"the topic of alarms holds something that is none: {error}", False
                log.error("%s", self._trouble)  # noqa: TRY400 - the text says all of it
                break
        self._follower.close()
