"""What somebody else runs and the user named: a Kafka with its login, a Redis, a Flink. They are asked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from schemas.kafka_address import KafkaAddressError, parse_kafka, servers_of
from schemas.kafka_login import has_login, with_login
from schemas.redis_address import without_password
from schemas.settings import PREFIX
from stack import kafka, redis
from stack.flink_rest import FlinkRest
from store.connect import KafkaUnavailable, RedisUnavailable, check_redis, connect_consumer, connect_redis
from store.kafka_login import troubles

_FILES = ("password_file", "ca", "certificate", "key")
_ADVICE = "Start it, correct {option}, or leave {option} out to have one started here."


def named_kafka(given: str | None, environment: Mapping[str, str], problems: list[str]) -> str | None:
    """Return the Kafka that was named, with its login; files are named absolutely, since the parts run elsewhere."""
    if not given:
        if has_login(environment):
            problems.append(f"The variables {PREFIX}KAFKA_… say how to log in, but no Kafka is named: give --kafka, or set {PREFIX}KAFKA.")
        return None
    try:
        address = parse_kafka(with_login(given, environment))
    except KafkaAddressError as error:
        problems += [f"{PREFIX}KAFKA: {problem}" for problem in str(error).splitlines()]
        return given
    files = {name: str(Path(value).absolute()) for name in _FILES if (value := getattr(address, name))}
    return msgspec.structs.replace(address, **files).text()


def unreachable(given_kafka: str | None, given_redis: str | None, given_flink: str | None) -> list[str]:
    """Return why what was named cannot be used."""
    problems = _kafka_troubles(given_kafka) if given_kafka else []
    if given_redis and not redis.answers(given_redis):
        advice = _ADVICE.format(option="--redis")
        problems.append(f"Redis at {without_password(given_redis)} does not answer. {advice}{_redis_reason(given_redis)}")
    if given_flink and not FlinkRest(given_flink).answers():
        problems.append(f"Flink's JobManager at {given_flink} does not answer. {_ADVICE.format(option='--flink')}")
    return problems


def _kafka_troubles(address: str) -> list[str]:
    try:
        parse_kafka(address)
    except KafkaAddressError:
        return []  # said when it was named
    if found := troubles(address):
        return found
    if not kafka.reachable(address):
        return [f"Kafka at {servers_of(address)} does not answer. {_ADVICE.format(option='--kafka')}"]
    try:
        if address != servers_of(address):
            connect_consumer(address).close()
    except KafkaUnavailable as error:
        return [str(error)]
    return []


def _redis_reason(url: str) -> str:
    try:
        with closing(connect_redis(url)) as client:
            check_redis(client)
    except RedisUnavailable as error:
        return f" {error}"
    return ""
