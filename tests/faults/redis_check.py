"""D: what Redis shows equals a recount of the committed topics."""

from __future__ import annotations

import time
from collections.abc import Iterator

from schemas.settings import Settings
from stack.label_reference import Rules
from stack.report_redis import wait_for_redis
from stack.report_topics import Run, read_topics
from store.committed import Ends


def redis_equals_a_recount(settings: Settings, run_id: str, ends: Ends) -> Iterator[str]:
    """Yield where counts, label states and newest predictions differ, after giving publish some seconds to catch up."""
    prefix = settings.topic_prefix
    run = Run(
        kafka=settings.kafka,
        redis=settings.redis,
        topic_prefix=prefix,
        recent=settings.recent_predictions,
        rules=Rules(label_wait_ms=settings.label_wait_s * 1000, event_known_ms=settings.event_known_s * 1000),
        dataset="generated",
        task="default",
        run_id=run_id,
        ends={name.removeprefix(prefix): offsets for name, offsets in ends.items()},
        started=time.time(),
        finished=time.time(),
        events_sent=0,
        events_records_sent=0,
        labels_sent=0,
        lines_skipped=0,
        unfinished=[],
    )
    yield from (f"D: {difference}" for difference in wait_for_redis(run, read_topics(run)))
