"""What the worker sees of the tasks: labels and changes in the model log, and the newest quality. Committed records of Kafka."""

from __future__ import annotations

import logging

import msgspec
from kafka.consumer.fetcher import ConsumerRecord

from batch_model.triggers import Seen
from schemas.log import ReleaseEntry
from schemas.parsing import record_parser
from schemas.records import Quality
from schemas.settings import Settings
from schemas.topics import Topic
from store.follow import Follower
from store.model_feed import TaskLogs

log = logging.getLogger(__name__)

_parse_quality = record_parser(Quality)


class Watching:
    """Follows the topics; use it from one thread."""

    def __init__(self, settings: Settings) -> None:
        self._logs = TaskLogs(settings.tasks)
        self._quality: dict[str, Quality] = {}
        self._quality_topic = settings.topic_prefix + Topic.QUALITY
        topics = [settings.topic_prefix + Topic.MODEL_LOG, self._quality_topic]
        self._follower = Follower(settings.kafka, topics, self._take, self._forget)

    @property
    def is_ready(self) -> bool:
        """Whether all that was there at the start has been seen."""
        return self._follower.caught_up

    def poll(self, timeout_ms: int) -> None:
        """See what has come, waiting for it at most so long (raises `KafkaUnavailable`)."""
        self._follower.poll(timeout_ms)

    def close(self) -> None:
        """Let go of the broker."""
        self._follower.close()

    def seen(self, task: str, cut_seq: int) -> Seen:
        """Return what is seen of a task now; labels are counted after entry `cut_seq`."""
        log, quality = self._logs.tasks[task], self._quality.get(task)
        is_full = quality is not None and quality.window.labels >= quality.window_size
        return Seen(
            seq=log.seq,
            new_labels=log.labels_after(cut_seq),
            last_label_at=None if log.last_label_at is None else log.last_label_at / 1000,
            alarms=quality.alarms if quality else 0,
            window=quality.window.accuracy if quality and is_full else None,
            overall=quality.overall.accuracy if quality and quality.overall.labels else None,
        )

    def released(self, task: str) -> frozenset[str]:
        """Return the lines that have come in, to serve or to be watched."""
        return frozenset(change.line for change in self._logs.tasks[task].changes if isinstance(change, ReleaseEntry))

    def _take(self, topic: str, records: list[ConsumerRecord]) -> None:
        if topic != self._quality_topic:
            self._logs.take(records)
            return
        # Of each task only the newest counts, and there are many of them.
        newest = {record.key: record.value for record in records if record.value is not None}
        for value in newest.values():
            try:
                quality = _parse_quality(value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # Scores are beside the log: without one the triggers on scores wait for the next, and all others go on.
                log.warning("%s holds something that is no quality record, which is passed over: %s", topic, error)
                continue
            self._quality[quality.task] = quality

    def _forget(self) -> None:
        self._logs.forget()
        self._quality.clear()
