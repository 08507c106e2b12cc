"""Where jobs run and remember: what their keepers are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.topics import Topic
from stack.failures import StartCheck
from stack.flink_rest import FlinkRest
from stack.jobs import History
from stack.submission import SubmissionClient


@dataclass(frozen=True)
class JobPlace:
    """Where jobs run and remember.

    Attributes:
        rest: the cluster.
        own_cluster: whether the cluster is this stack's: then a job of our name on it is ours.
        history: what was submitted before.
        checkpoints: folder with a folder for each job.
        savepoints: the same for savepoints.
        client: submits.
        has_output: whether a topic holds records.
        is_whole: whether no record of a topic has been deleted yet.
        inherit_ms: how long the rewind of a submission counts for what starts from its states.
        start_check: gives for a job what starts to look whether all that it read is answered.
    """

    rest: FlinkRest
    own_cluster: bool
    history: History
    checkpoints: Path
    savepoints: Path
    client: SubmissionClient
    has_output: Callable[[Topic], bool]
    is_whole: Callable[[Topic], bool]
    inherit_ms: int
    start_check: Callable[[str], StartCheck | None]
