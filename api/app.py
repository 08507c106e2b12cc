"""Puts the application together. Importing this module starts nothing and connects to nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api import health, models, problems, reading, tasks, writing
from api.dashboard import routes as dashboard
from api.openapi import describe
from api.publisher import Publisher
from api.readiness import Readiness
from api.sent import Sent
from api.services import Services
from schemas.settings import Settings
from store.artifacts import ArtifactFolder
from store.connect import connect_redis
from store.model_feed import ModelFeed
from store.reader import RedisReader
from store.releases import ReleaseFolder

_DESCRIPTION = "Predictions, label receipts, counts and quality of a stream of text that is classified and never stops being learned from."


def create_app(settings: Settings) -> FastAPI:
    """Return the application. Once it serves it follows the model log; else it connects with the first request that needs Kafka or Redis.

    Raises:
        RedisUnavailable: if `settings.redis` is no URL of a Redis.
    """
    client = connect_redis(settings.redis)
    reader = RedisReader(client, topic_prefix=settings.topic_prefix)
    publisher = Publisher(settings.kafka)
    feed = ModelFeed(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        feed.start()
        yield
        await run_in_threadpool(feed.close)
        await run_in_threadpool(publisher.close)
        client.close()
        client.connection_pool.disconnect()

    app = FastAPI(
        title="Millrace", version="1", description=_DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    releases = ReleaseFolder(ArtifactFolder(settings.artifacts))
    app.state.services = Services(settings, reader, publisher, Readiness(settings, reader), feed, releases, Sent())
    problems.install(app)
    for routes in (reading, models, writing, tasks, health, dashboard):
        app.include_router(routes.router)
    app.openapi = describe(app)  # type: ignore[method-assign]  # FastAPI documents exactly this
    return app
