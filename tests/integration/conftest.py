"""Real servers for the tests: the stack's own Redis and Kafka, on free ports of the loopback, in temporary folders."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import uvicorn
from kafka.admin import KafkaAdminClient, NewTopic

from api.access.start import listening
from api.app import create_app
from api.server import server_config
from client import Client
from schemas.api_settings import ApiSettings
from schemas.settings import Settings
from schemas.topics import topic_specs
from stack.kafka import start_broker
from stack.process import Part
from stack.redis import start_redis
from store.connect import connect_redis


@pytest.fixture
def redis_part(tmp_path: Path) -> Iterator[Part]:
    """A Redis of the test's own, which the test may stop and start."""
    part = start_redis(tmp_path / "redis")
    yield part
    part.stop()


@pytest.fixture
def redis_client(redis_part: Part) -> Iterator[redis.Redis]:
    with connect_redis(f"redis://{redis_part.address}/0") as client:
        yield client


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap address of a broker that lives as long as the tests."""
    part = start_broker(tmp_path_factory.mktemp("kafka"))
    yield part.address
    part.stop()


@pytest.fixture
def kafka_part(tmp_path: Path) -> Iterator[Part]:
    """A broker of the test's own, which the test may stop and start."""
    part = start_broker(tmp_path / "kafka")
    yield part
    part.stop()


def create_topics(kafka: str, prefix: str) -> None:
    """Create the topics as Millrace does, with one partition for the high-volume ones."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        specs = topic_specs(partitions=1)
        admin.create_topics(
            [NewTopic(prefix + s.topic, num_partitions=s.partitions, replication_factor=1, topic_configs=s.config) for s in specs]
        )
        admin.wait_for_topics([prefix + s.topic for s in specs], timeout_ms=30_000)
    finally:
        admin.close()


@contextmanager
def serving(settings: Settings, api: ApiSettings | None = None, **client_options: Any) -> Iterator[httpx.Client]:
    """Serve the API in a thread of this process, and give a client of it."""
    api = api or ApiSettings()
    config = server_config(create_app(settings, api), api.host, 0, log_level="warning", **listening(api))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        scheme = "https" if config.is_ssl else "http"
        with httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", timeout=40, **client_options) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def serve() -> Callable[..., AbstractContextManager[httpx.Client]]:
    """The function that serves the API, for tests with settings of their own."""
    return serving


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API; the test's module says with which settings."""
    with serving(settings) as client:
        yield client


@pytest.fixture
def client(api: httpx.Client) -> Iterator[Client]:
    """The typed client of the same API."""
    with Client(str(api.base_url)) as client:
        yield client


@pytest.fixture
def topics() -> Callable[[str, str], None]:
    """The function that creates the topics, for tests with a broker of their own."""
    return create_topics


@pytest.fixture
def topic_prefix(kafka: str) -> str:
    """A prefix under which this test has topics of its own."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    create_topics(kafka, prefix)
    return prefix
