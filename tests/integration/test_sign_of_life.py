"""Signs of life end with what gives them, also where nobody closes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from schemas.settings import Settings
from stack.process import Part
from store.connect import connect_redis
from stream.sign_of_life import SignOfLife

pytestmark = pytest.mark.integration


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "alive-learn"]


def wait_for(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("closes", [True, False])
def test_signs_end_when_it_is_closed_or_dropped(redis_part: Part, closes: bool) -> None:
    settings = Settings(redis=f"redis://{redis_part.address}/0", topic_prefix="signs-")
    alive: SignOfLife | None = SignOfLife(settings, "learn")
    with connect_redis(settings.redis) as client:
        wait_for(lambda: client.exists("signs-:job:learn"))
        if closes and alive is not None:
            alive.close()
        alive = None
        wait_for(lambda: not threads())
        client.delete("signs-:job:learn")
        time.sleep(1.5)
        assert not client.exists("signs-:job:learn")
