"""Puts the application together. Importing this module starts nothing and connects to nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from api import alarms, classifying, health, model_quality, models, predictions, problems, reading, statistics, tasks, writing
from api.access import me
from api.access.gate import Access
from api.access.install import install
from api.access.trail import Trail
from api.dashboard import routes as dashboard
from api.live import route as live
from api.live.hub import Hub
from api.measures import Looked, Measures
from api.observing import Observed
from api.openapi import describe, operation_id
from api.publisher import Publisher
from api.readiness import Readiness
from api.review import exchange, routes
from api.review.queue import ReviewQueue
from api.sent import Sent
from api.services import Services
from schemas.api_settings import ApiSettings
from schemas.settings import Settings
from schemas.topics import Topic
from store.alarm_feed import AlarmFeed
from store.artifacts import ArtifactFolder
from store.claims import Claims
from store.connect import connect_redis
from store.idempotency import SentKeys
from store.live_replica import LiveReplica
from store.model_feed import ModelFeed
from store.reader import RedisReader
from store.recent.index import RecentIndex
from store.releases import ReleaseFolder

WRITERS = 16
"""Threads that may wait for Kafka at once; there are 40 in all."""

_DESCRIPTION = "Predictions, label receipts, counts and quality of a stream of text that is classified and never stops being learned from."

_LOOPBACK = ApiSettings()

_PARTS = (
    *(predictions, reading, statistics, alarms, live, model_quality, models, classifying, writing),
    *(exchange, routes, tasks, me, health, dashboard),
)
"""Whoever has a router."""


class _Application(FastAPI):
    """Observed from outside of everything, also of what turns unexpected errors into answers."""

    def build_middleware_stack(self) -> ASGIApp:
        has: Services = self.state.services
        return Observed(super().build_middleware_stack(), has.measures)


def create_app(settings: Settings, api: ApiSettings = _LOOPBACK) -> FastAPI:
    """Return the application. Once it serves it follows the model log; else it connects with the first request that needs Kafka or Redis.

    Raises:
        RedisUnavailable: if `settings.redis` is no URL of a Redis.
        KeyFileError: if there is a key file that cannot be used.
    """
    client = connect_redis(settings.redis)
    reader = RedisReader(client, topic_prefix=settings.topic_prefix)
    measures = Measures()
    prefix = len(settings.topic_prefix)
    publisher = Publisher(settings.kafka, lambda topic, records: measures.written(topic[prefix:], records))
    replicas = {task: LiveReplica(settings, task) for task in settings.tasks}
    feed = ModelFeed(settings, replicas)
    sent_keys = SentKeys(client, topic_prefix=settings.topic_prefix)
    recent = RecentIndex(settings)
    alarm_feed = AlarmFeed(settings)
    hub = Hub(recent, reader, measures)
    claims = Claims(client, lifetime_ms=settings.review_claim_s * 1000, topic_prefix=settings.topic_prefix)
    audit = Publisher(settings.kafka)
    trail = Trail(lambda records: audit.publish(settings.topic_prefix + Topic.AUDIT, records))
    access = Access(api, trail)
    readiness = Readiness(settings, reader, feed, watched=access.watched)
    measures.registry.register(Looked(settings, readiness, feed, reader, recent))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        feed.start()
        recent.start()
        alarm_feed.start()
        readiness.start()
        trail.start()
        async with hub.running():
            yield
        await run_in_threadpool(trail.close)
        await run_in_threadpool(audit.close)
        await run_in_threadpool(alarm_feed.close)
        await run_in_threadpool(recent.close)
        await run_in_threadpool(readiness.close)
        await run_in_threadpool(_close, feed, replicas)
        await run_in_threadpool(publisher.close)
        client.close()
        client.connection_pool.disconnect()

    app = _Application(
        title="Millrace",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    releases = ReleaseFolder(ArtifactFolder(settings.artifacts))
    app.state.services = Services(
        settings=settings,
        reader=reader,
        publisher=publisher,
        readiness=readiness,
        feed=feed,
        recent=recent,
        alarms=alarm_feed,
        live=hub,
        replicas=replicas,
        claims=claims,
        review={
            task: ReviewQueue(settings, task, index=recent, replica=replica, claims=claims, chance=random.SystemRandom().random)
            for task, replica in replicas.items()
        },
        releases=releases,
        sent=Sent(),
        sent_keys=sent_keys,
        measures=measures,
        writers=CapacityLimiter(WRITERS),
    )
    problems.install(app)
    install(app, access)
    for part in _PARTS:
        app.include_router(part.router)
    app.openapi = describe(app)  # type: ignore[method-assign]  # FastAPI documents exactly this
    return app


def _close(feed: ModelFeed, replicas: Mapping[str, LiveReplica]) -> None:
    """End the feed first: nobody else may end what it looks after."""
    feed.close()
    for replica in replicas.values():
        replica.close()
