"""Which bodies were sent with which idempotency keys, in Redis, for all API processes together."""

from __future__ import annotations

import hashlib
from typing import Any

import redis

from store.connect import redis_unavailable
from store.keys import IDEMPOTENCY_LIFETIME_S, Keys

_BEGUN, _SENT = b"begun", b"sent"


class KeyReused(Exception):
    """The key was used for another body."""


class SentKeys:
    """Notes what is sent. Every method raises `RedisUnavailable`. Safe to use from several threads."""

    def __init__(self, client: redis.Redis, *, topic_prefix: str = "") -> None:
        self._client: Any = client  # its types allow for an asynchronous one
        self._keys = Keys(topic_prefix)

    def claim(self, route: str, key: str, body: bytes) -> bool:
        """Note that the body is being sent with the key. True if it was sent whole before, so that it need not be sent again.

        Two that come at the same time are both told to send: each may be the one that ends.

        Raises:
            KeyReused: if another body was.
        """
        name, digest = self._keys.idempotency(route, key), _digest(body)
        try:
            # Once more if what was there has just expired.
            for _ in range(2):
                if self._client.set(name, digest + b":" + _BEGUN, nx=True, ex=IDEMPOTENCY_LIFETIME_S):
                    return False
                value = self._client.get(name)
                if value is not None:
                    known, _, state = value.partition(b":")
                    if known != digest:
                        raise KeyReused
                    return bool(state == _SENT)
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error
        return False

    def sent(self, route: str, key: str, body: bytes) -> None:
        """Note that the body is in Kafka."""
        try:
            self._client.set(self._keys.idempotency(route, key), _digest(body) + b":" + _SENT, xx=True, keepttl=True)
        except redis.RedisError as error:
            raise redis_unavailable(self._client, error) from error


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
