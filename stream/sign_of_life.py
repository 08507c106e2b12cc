"""A job's sign of life in Redis, once a second: from it the API tells a job that idles from one that is gone."""

from __future__ import annotations

import contextlib
import threading
import weakref

from schemas.settings import Settings
from store.connect import RedisUnavailable, connect_redis
from store.writer import RedisWriter
from stream.clock import now_ms

INTERVAL_S = 1.0


class SignOfLife:
    """Marks the job as alive from a thread of its own until it is closed: neither Redis nor its absence ever holds the job up.

    The thread touches nothing of Flink's, and holds nothing of the operator's. It ends when it is closed, with the process, or when this
    object is gone: Flink closes a function only when its input ends, and drops it when a job is stopped, cancelled or restarted.
    """

    def __init__(self, settings: Settings, job: str) -> None:
        self._stop = threading.Event()
        weakref.finalize(self, self._stop.set)
        threading.Thread(target=_run, args=(settings, job, self._stop), name=f"alive-{job}", daemon=True).start()

    def close(self) -> None:
        """Give no more signs; does not wait for one that is on its way."""
        self._stop.set()


def _run(settings: Settings, job: str, stop: threading.Event) -> None:
    with connect_redis(settings.redis) as client:
        writer = RedisWriter(client, recent=1, topic_prefix=settings.topic_prefix)
        while not stop.wait(INTERVAL_S):
            with contextlib.suppress(RedisUnavailable):
                writer.mark_job(job, now=now_ms())
