"""Connections to Redis and Kafka: with timeouts, and with errors that say what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, LeaderNotAvailableError
from kafka.net.compat import KafkaNetClient
from kafka.producer.future import FutureRecordMetadata
from kafka.serializer import Serializer
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas.kafka_address import servers_of
from schemas.redis_address import without_password
from schemas.topics import MAX_RECORD_BYTES
from store.kafka_login import client_options
from store.redis_login import url_and_options

REDIS_CONNECT_S = 2.0
REDIS_ANSWER_S = 10.0
KAFKA_CONNECT_MS = 10_000
KAFKA_REQUEST_MS = 15_000
KAFKA_PROBE_S = 2.0
TRANSACTION_MS = 60_000

_C = TypeVar("_C")


class RedisUnavailable(Exception):
    """Redis does not answer, or is no Redis that Millrace can use; whoever runs it must act."""


class KafkaUnavailable(Exception):
    """The broker does not answer, or a topic is missing; whoever runs it must act."""


class Producer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A producer whose errors of the moment are all a `KafkaError`."""

    def send(self, topic: str, *args: Any, **options: Any) -> FutureRecordMetadata:
        """Send as `KafkaProducer.send` does.

        kafka-python 3.0.12 looks twice for the topic's partitions. Where the metadata come anew in between, without the topic (its broker
        is just starting), it raises `ValueError`: that is an error of the broker, which passes, and none of the caller.
        """
        try:
            return super().send(topic, *args, **options)
        except ValueError as error:
            raise LeaderNotAvailableError(str(error)) from error


def connect_redis(url: str) -> redis.Redis:
    """Return a client of the Redis at `url`; it connects with the first command.

    A command fails at once rather than being sent again: the caller knows whether its batch is whole, the client does not.

    Raises:
        RedisUnavailable: if the URL is none that redis-py understands.
    """
    try:
        address, options = url_and_options(url)
        pool = redis.ConnectionPool.from_url(
            address,
            **options,
            socket_connect_timeout=REDIS_CONNECT_S,
            socket_timeout=REDIS_ANSWER_S,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
    except ValueError as error:
        raise RedisUnavailable(
            f"MILLRACE_REDIS={without_password(url)!r} is no Redis URL: {error}. Example: redis://127.0.0.1:6379/0"
        ) from error
    return redis.Redis(connection_pool=pool)


def check_redis(client: redis.Redis) -> None:
    """Ask Redis whether it is there and accepts writes from us.

    Raises:
        RedisUnavailable: saying what to do.
    """
    try:
        client.ping()
    except redis.AuthenticationError as error:
        raise RedisUnavailable(
            f"Redis refuses the login ({error}): put user and password into MILLRACE_REDIS, redis://user:password@host:port/0"
        ) from error
    except (redis.RedisError, OSError) as error:
        raise redis_unavailable(client, error) from error


def redis_unavailable(client: redis.Redis, error: Exception) -> RedisUnavailable:
    """Return what to raise when a command failed with `error`."""
    place = client.connection_pool.connection_kwargs
    address = place.get("path") or f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"
    if isinstance(error, redis.ResponseError):
        # redis-py puts the whole command, with all its data, before the reason.
        reason = str(error).rpartition("caused error: ")[2]
        return RedisUnavailable(
            f"Redis at {address} refuses a command ({reason[:300]}): check its log, its memory limit and MILLRACE_REDIS"
        )
    return RedisUnavailable(f"Redis at {address} does not answer ({error}): start it, or set MILLRACE_REDIS to the one to use")


def connect_consumer(kafka: str, *, isolation: str = "read_committed", group: str | None = None) -> KafkaConsumer:
    """Return a consumer, in no group unless one is named; it never creates topics, never jumps over lost records, and commits nothing.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    options = {
        "request_timeout_ms": KAFKA_REQUEST_MS,
        "isolation_level": isolation,
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "max_poll_records": 10_000,
    }
    return connect(KafkaConsumer, kafka, options)


def connect_producer(kafka: str) -> KafkaProducer:
    """Return a producer that waits for all replicas and gives up after `KAFKA_REQUEST_MS`; it never creates topics.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    options = {
        "acks": "all",
        "max_block_ms": KAFKA_CONNECT_MS,
        "request_timeout_ms": KAFKA_REQUEST_MS - 5_000,
        "delivery_timeout_ms": KAFKA_REQUEST_MS,
        "linger_ms": 5,
        "max_request_size": MAX_RECORD_BYTES,
        "reconnect_backoff_max_ms": 1000,
    }
    return connect(Producer, kafka, options)


def connect_copier(kafka: str, transactional_id: str, key_serializer: Serializer) -> KafkaProducer:
    """Return a producer of transactions of so many records as a consumer reads at once; it never creates topics.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    options = {
        "transactional_id": transactional_id,
        "transaction_timeout_ms": TRANSACTION_MS,
        "key_serializer": key_serializer,
        "max_block_ms": KAFKA_CONNECT_MS,
        "request_timeout_ms": KAFKA_REQUEST_MS - 5_000,
        "delivery_timeout_ms": TRANSACTION_MS,
        "linger_ms": 5,
        "batch_size": 256 * 1024,
        # With what a record needs around it; the broker has the last word.
        "max_request_size": MAX_RECORD_BYTES + 64 * 1024,
        "reconnect_backoff_max_ms": 1000,
    }
    return connect(Producer, kafka, options)


def connect(kind: Callable[..., _C], kafka: str, options: dict[str, object]) -> _C:
    """Make a client of kafka-python; one that does not come up leaves no thread and no socket behind.

    Raises:
        KafkaUnavailable: if no broker answers.
    """
    if not kafka_listens(kafka):
        # Asked first because kafka-python would try, and wait, for the whole of its time.
        raise kafka_unavailable(kafka, "nothing listens there")
    made: list[KafkaNetClient] = []

    def network(**configs: object) -> KafkaNetClient:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    common = {"bootstrap_timeout_ms": KAFKA_CONNECT_MS, "allow_auto_create_topics": False, "metrics_enabled": False}
    try:
        return kind(**client_options(kafka), kafka_client=network, **common, **options)
    except (KafkaError, OSError, ValueError) as error:
        for client in made:
            client.close()
        raise kafka_unavailable(kafka, error) from error


def kafka_listens(kafka: str) -> bool:
    """Say whether one of the bootstrap servers accepts connections."""
    for server in servers_of(kafka).split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=KAFKA_PROBE_S):
                return True
        except (OSError, ValueError, OverflowError):
            continue
    return False


def kafka_unavailable(kafka: str, error: Exception | str) -> KafkaUnavailable:
    """Return what to raise when talking to the broker failed with `error`."""
    detail = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    servers = servers_of(kafka)
    if servers == kafka or isinstance(error, str):
        asked = "" if isinstance(error, str) else "; if it asks for TLS or a login, see the variables MILLRACE_KAFKA_…"
        return KafkaUnavailable(f"Kafka at {servers} does not answer ({detail}): start it, or set MILLRACE_KAFKA to the one to use{asked}")
    # kafka-python 3.0.12 does not say whether it was refused: it tries again until its time is over.
    return KafkaUnavailable(
        f"Kafka at {servers} does not answer, or does not let us in ({detail}): check the login and the certificates (MILLRACE_KAFKA_…), "
        "the broker's log says which"
    )
