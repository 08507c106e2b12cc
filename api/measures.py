"""The metrics of the API: what it counts itself, and what it looks up when it is asked. The names are in `schemas.metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from api.readiness import Readiness
from schemas.metrics import API, metric
from schemas.records import Quality, State
from schemas.settings import Settings
from store.connect import RedisUnavailable
from store.model_feed import ModelFeed
from store.reader import RedisReader
from store.recent.index import RecentIndex

# The time at which each counter was made: a series more for every one, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

M = TypeVar("M", Counter, Gauge)


class Measures:
    """What is counted while requests are answered. Safe to use from several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._made(Counter, "millrace_api_requests_total")
        seconds = metric(API, "millrace_api_request_seconds")
        self._seconds = Histogram(seconds.name, seconds.help, seconds.labels, registry=self.registry, buckets=_SECONDS)
        self.in_flight = self._made(Gauge, "millrace_api_requests_in_flight")
        self.live_clients = self._made(Gauge, "millrace_api_live_clients")
        self._rate_limited = self._made(Counter, "millrace_api_rate_limited_total")
        self._records = self._made(Counter, "millrace_api_records_total")

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)
        if status == 429:
            self._rate_limited.inc()

    def written(self, topic: str, records: int) -> None:
        """Count records that Kafka has."""
        self._records.labels(topic).inc(records)

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self.registry)

    def _made(self, kind: type[M], name: str) -> M:
        known = metric(API, name)
        return kind(known.name, known.help, known.labels, registry=self.registry)


class Looked(Collector):
    """What is looked up when Prometheus asks. A value that nobody knows now is left out."""

    def __init__(self, settings: Settings, readiness: Readiness, feed: ModelFeed, reader: RedisReader, index: RecentIndex) -> None:
        self._settings, self._readiness, self._feed, self._reader, self._index = settings, readiness, feed, reader, index

    def describe(self) -> list[Metric]:
        """Say nothing when it is registered: nothing is to be asked then."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric, most of them with a value for each task."""
        yield from self._parts()
        yield from self._log()
        yield from self._recent()
        yield from self._model()

    def _parts(self) -> Iterator[Metric]:
        up, seen = _family("millrace_api_part_up"), _family("millrace_api_part_last_seen_timestamp_seconds")
        for name, part in self._readiness.view().parts.items():
            if part.ready is not None:
                up.add_metric([name], float(part.ready))
        for name, at in self._readiness.last_seen().items():
            seen.add_metric([name], at / 1000)
        yield from (up, seen)

    def _log(self) -> Iterator[Metric]:
        state = self._feed.state()
        seq, behind = _family("millrace_api_model_log_seq"), _family("millrace_api_model_log_records_behind")
        if state.is_read:
            for task, last in state.seqs.items():
                seq.add_metric([task], last)
            behind.add_metric([], state.behind)
        yield from (seq, behind)

    def _recent(self) -> Iterator[Metric]:
        held, behind = _family("millrace_api_index_predictions"), _family("millrace_api_index_behind_seconds")
        for task in self._settings.tasks:
            indexed = self._index.indexed(task)
            held.add_metric([task], indexed.events)
            if self._index.is_filled(task):
                stale_s = 0.0 if indexed.stale_since is None else max(0.0, time.time() - indexed.stale_since / 1000)
                behind.add_metric([task], max(stale_s, self._index.behind_ms(task) / 1000))
        yield from (held, behind)

    def _model(self) -> Iterator[Metric]:
        found = self._published()
        now = time.time() * 1000
        values: dict[str, Callable[[Quality], float | None]] = {
            "millrace_model_seq": lambda q: q.model.seq,
            "millrace_model_age_seconds": lambda q: max(0.0, now - q.model_time) / 1000,
            "millrace_window_accuracy": lambda q: q.window.accuracy if q.window.labels else None,
            "millrace_overall_accuracy": lambda q: q.overall.accuracy if q.overall.labels else None,
            "millrace_drift_alarms_total": lambda q: q.alarms,
        }
        for name, of in values.items():
            family = _family(name)
            for task, (quality, _) in found.items():
                if quality is not None and (value := of(quality)) is not None:
                    family.add_metric([task], value)
            yield family
        states = _family("millrace_label_states")
        for task, (_, counts) in found.items():
            for state in State:
                states.add_metric([task, state], counts.get(state, 0))
        yield states

    def _published(self) -> dict[str, tuple[Quality | None, dict[str, int]]]:
        """Return quality and label states of each task; nothing while Redis is known to be away, so that nobody waits for it."""
        if not self._readiness.is_ready("redis"):
            return {}
        try:
            return {task: (self._reader.quality(task), self._reader.label_states(task)) for task in self._settings.tasks}
        except RedisUnavailable:
            return {}


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    known = metric(API, name)
    kind = CounterMetricFamily if known.kind == "counter" else GaugeMetricFamily
    return kind(known.name, known.help, labels=known.labels)
