"""Models in several threads: each has its own memory, and what kernels share is used within one call only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from online_model.models import OwnModel

pytestmark = pytest.mark.unit

TEXTS = [f"word{n} and word{n * 7 % 31} in a text of number {n}" for n in range(200)]


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def learned(shift: int) -> OwnModel:
    model = OwnModel(memory_mib=1)
    for n, text in enumerate(TEXTS * 10):
        model.learn_one(text, f"class {(n + shift) % 5}")
    return model


def predicted(model: OwnModel) -> list[dict[str, float]]:
    return [model.predict_top(text, 3) for text in TEXTS * 20]


def explained(model: OwnModel) -> list[object]:
    return [model.explain(text) for text in TEXTS]


def test_threads_with_models_of_their_own_do_not_disturb_each_other() -> None:
    """One learns, one predicts and one explains, as when a line is built beside the one that serves."""
    first, second = learned(1), learned(2)
    steps: list[Callable[[], object]] = [lambda: learned(0).fingerprint(), lambda: predicted(first), lambda: explained(second)]
    alone = [step() for step in steps]
    together: list[object] = [None] * len(steps)
    start = threading.Barrier(len(steps))

    def run(place: int) -> None:
        start.wait()
        together[place] = steps[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
