"""A release to promote, made without a refresh: a model that has learned some labelled texts, stored as a refresh would store it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from online_model.replica import Replica
from schemas.log import Origin
from schemas.manifest import DataSpec, Gate, Manifest
from schemas.records import Scores
from schemas.settings import Settings
from store.artifacts import ArtifactFolder
from store.labelled_files import Row
from store.releases import ReleaseFolder

_SCORES = Scores(labels=0, accuracy=0.0, macro_f1=0.0, log_loss=0.0, per_class={})


def store_taught(settings: Settings, line: str, rows: Iterable[Row], *, task: str = "default") -> Manifest:
    """Store a release that begins at entry 0 of the log with what the rows have taught, and return its manifest."""
    replica = Replica.configured(settings, task)
    replica.line = line
    taught = 0
    for row in rows:
        replica.model.learn_one(row.text, str(row.label))
        taught += 1
    now = time.time_ns() // 1_000_000
    replica.updated_at = now
    gate = Gate(
        passed=True, reasons=["not compared: it was taught, and not refreshed"], champion_line="base", labels=0, champion=_SCORES,
        challenger=_SCORES, only_champion=0, only_challenger=0, p_value=1.0,
    )  # fmt: skip
    manifest = Manifest(
        task=task, line=line, created_at=now, by="benchmarks", why="to have one", origin=Origin(cut_seq=0),
        specification=replica.model.specification, parent=None, candidate="taught", parameters={}, metrics={}, gate=gate,
        data=DataSpec(source="generated", rows=taught, classes=0, fingerprint="none"),
    )  # fmt: skip
    return ReleaseFolder(ArtifactFolder(settings.artifacts)).put(manifest, replica.snapshot())
