"""Stable ids for the operators that the SQL planner makes: without them a savepoint would not fit the next version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment

_WITHOUT_STATE = ("PartitionTransformation", "UnionTransformation", "SideOutputTransformation", "BroadcastStateTransformation")


def assign_uids(streams: StreamExecutionEnvironment, job: str) -> list[str]:
    """Give every operator of the job that has no id one made of its kind and its place, and return all ids in order.

    The place is counted among operators of the same kind, sources first along each input, so that an id changes only if
    an operator of that kind comes or goes before it. A test compares the ids with a stored list.
    """
    seen: dict[str, int] = {}
    uids = []
    for transformation in _operators(streams):
        uid = transformation.getUid()
        if uid is None:
            kind = _kind(transformation.getName())
            seen[kind] = seen.get(kind, 0) + 1
            uid = f"{job}-{kind}-{seen[kind]}"
            transformation.setUid(uid)
        uids.append(uid)
    return uids


def _operators(streams: StreamExecutionEnvironment) -> Iterator[Any]:
    """Yield the Java transformations that become operators, inputs before what reads them, each once."""
    done: set[int] = set()

    def visit(transformation: Any) -> Iterator[Any]:
        if transformation.getId() in done:
            return
        done.add(transformation.getId())
        for upstream in transformation.getInputs():
            yield from visit(upstream)
        if transformation.getClass().getSimpleName() not in _WITHOUT_STATE:
            yield transformation

    for root in streams._j_stream_execution_environment.getTransformations():  # noqa: SLF001  (PyFlink has no accessor)
        yield from visit(root)


def _kind(name: str) -> str:
    """Return the kind of an operator from the planner's name for it.

    >>> _kind("Source: predictions_in[12]"), _kind("Join[7]"), _kind("Calc(select=[a])")
    ('source-predictions-in', 'join', 'calc')
    """
    head = re.split(r"[\[(]", name, maxsplit=1)[0]
    return re.sub(r"[^a-z0-9]+", "-", head.lower()).strip("-")
