"""Puts the application together. Importing this module starts nothing and connects to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from api import health, models, problems, reading, writing
from api.access import me
from api.access.gate import Access
from api.access.install import install
from api.access.trail import Trail
from api.measures import Looked, Measures
from api.observing import Observed
from api.openapi import describe, operation_id
from api.publisher import Publisher
from api.readiness import Readiness
from api.sent import Sent
from api.services import Services
from schemas.api_settings import ApiSettings
from schemas.settings import Settings
from schemas.topics import Topic
from store.artifacts import ArtifactFolder
from store.connect import connect_redis
from store.model_feed import ModelFeed
from store.reader import RedisReader
from store.releases import ReleaseFolder

WRITERS = 16
"""Threads that may wait for Kafka at once; there are 40 in all."""

_DESCRIPTION = "Predictions, label receipts, counts and quality of a stream of text that is classified and never stops being learned from."

_LOOPBACK = ApiSettings()

_LOOPBACK = ApiSettings()


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
    feed = ModelFeed(settings)
    audit = Publisher(settings.kafka, lambda topic, records: measures.written(topic[prefix:], records))
    trail = Trail(lambda records: audit.publish(settings.topic_prefix + Topic.AUDIT, records))
    access = Access(api, trail)
    readiness = Readiness(settings, reader, feed, watched=access.watched)
    measures.registry.register(Looked(settings, readiness, feed, reader))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        feed.start()
        readiness.start()
        trail.start()
        yield
        await run_in_threadpool(trail.close)
        await run_in_threadpool(audit.close)
        await run_in_threadpool(readiness.close)
        await run_in_threadpool(feed.close)
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
    app.state.services = Services(settings, reader, publisher, readiness, feed, releases, Sent(), measures, CapacityLimiter(WRITERS))
    problems.install(app)
    install(app, access)
    for routes in (reading, models, writing, me, health):
        app.include_router(routes.router)
    app.openapi = describe(app)  # type: ignore[method-assign]  # FastAPI documents exactly this
    return app
