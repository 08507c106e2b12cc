"""A job's sign of life in Redis, once a second: from it the API tells a job that idles from one that is gone."""

from __future__ import annotations

import contextlib
import threading

from schemas.settings import Settings
from store.connect import RedisUnavailable, connect_redis
from store.writer import RedisWriter
from stream.clock import now_ms

INTERVAL_S = 1.0


class SignOfLife:
    """Marks the job as alive from a thread of its own until it is closed: neither Redis nor its absence ever holds the job up.

    The thread touches nothing of Flink's. It ends with the operator, and so with the job, or with the process.
    """

    def __init__(self, settings: Settings, job: str) -> None:
        self._settings, self._job = settings, job
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alive-{job}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give no more signs; does not wait for one that is on its way."""
        self._stop.set()

    def _run(self) -> None:
        with connect_redis(self._settings.redis) as client:
            writer = RedisWriter(client, recent=1, topic_prefix=self._settings.topic_prefix)
            while not self._stop.wait(INTERVAL_S):
                with contextlib.suppress(RedisUnavailable):
                    writer.mark_job(self._job, now=now_ms())
