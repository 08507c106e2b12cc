import threading

import pytest

from online_model import tokens
from online_model.blocks import Block

pytestmark = pytest.mark.unit


def test_threads_that_open_at_the_same_time_share_one_workspace() -> None:
    """All but one would be freed, and a model that has only the addresses would read freed memory."""
    more = ((7, int),)  # sections that nobody else has asked for
    start = threading.Barrier(8)
    found: list[Block] = []

    def ask() -> None:
        start.wait()
        found.append(tokens.workspace(more))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(block is found[0] for block in found)
