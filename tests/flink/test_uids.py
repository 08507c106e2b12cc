"""The ids of all operators: a savepoint fits the next version only if they stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.settings import Settings
from stream.environment import Job, Placement
from stream.jobs import build
from stream.uids import assign_uids

pytestmark = pytest.mark.flink

STORED = Path(__file__).with_name("uids.json")
"""Change it together with a note in CHANGELOG.md on how running jobs are upgraded."""


@pytest.mark.parametrize("job", list(Job))
def test_ids_are_the_stored_ones(job: Job, settings: Settings, tmp_path: Path) -> None:
    environment = build(job, settings, Placement(checkpoints=f"file://{tmp_path}"))
    uids = assign_uids(environment.streams, job)
    assert len(set(uids)) == len(uids)
    assert uids == json.loads(STORED.read_text())[job]
