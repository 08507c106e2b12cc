"""The routes about what the model knows and where it errs: its classes, its confusions, how far its confidences come true."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from api.access.guard import needs
from api.services import Has, Task, answers, json
from schemas.records import ModelVersion

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))


class CellView(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels were `truth` where `label` had been served; a label counts by its weight, 1 unless its sender says otherwise."""

    truth: str
    label: str
    count: float


class ConfusionView(msgspec.Struct, frozen=True, kw_only=True):
    """The confusions of the served predictions over all scored labels, among the classes with most of them; `other` counts the rest.

    Among the rest are predictions without a label, those that a verdict denied without saying what is right, and rare confusions beyond
    the 5,000 kinds that are told apart. The cells are listed by truth in the order of `labels`, the most frequent first.
    """

    task: str
    model: ModelVersion
    stale_since: int | None
    labels: list[str]
    other: float
    cells: list[CellView]


class BinView(msgspec.Struct, frozen=True, kw_only=True):
    """The predictions with confidences from `low` to `high`: how many, their mean confidence, and the share that came true."""

    low: float
    high: float
    labels: int
    confidence: float | None
    accuracy: float | None


class CalibrationView(msgspec.Struct, frozen=True, kw_only=True):
    """How far the confidences of the served predictions came true, over the last labels (at most `window_size`).

    `ece`, the expected calibration error, is the mean distance of confidence and accuracy in the bins, by their labels; null without any.
    """

    task: str
    model: ModelVersion
    stale_since: int | None
    window_size: int
    labels: int
    ece: float | None
    bins: list[BinView]


class ClassesView(msgspec.Struct, frozen=True, kw_only=True):
    """The classes that the serving model knows, sorted."""

    task: str
    model: ModelVersion
    stale_since: int | None
    classes: list[str]


@router.get("/classes", responses=answers(ClassesView, 422, 503))
def classes(has: Has, task: Task) -> Response:
    """Return the classes that the serving model knows."""
    with has.replicas[task].held() as replica:
        model, known = ModelVersion(line=replica.line, seq=replica.seq), list(replica.model.classes)
    return json(ClassesView(task=task, model=model, stale_since=has.feed.stale_since, classes=sorted(known)))


@router.get("/quality/confusion", responses=answers(ConfusionView, 422, 503))
def confusion(
    has: Has, task: Task, limit: Annotated[int, Query(ge=1, le=500, description="classes: those with most labels and predictions")] = 30
) -> Response:
    """Return which labels the served predictions were mistaken for."""
    with has.replicas[task].held() as replica:
        model, cells = ModelVersion(line=replica.line, seq=replica.seq), replica.quality.cells()
    labels = most_frequent(cells, limit)
    place = {name: index for index, name in enumerate(labels)}
    shown = sorted(((t, p, n) for (t, p), n in cells.items() if t in place and p in place), key=lambda c: (place[c[0]], -c[2], c[1]))
    view = ConfusionView(
        task=task,
        model=model,
        stale_since=has.feed.stale_since,
        labels=labels,
        other=sum(cells.values()) - sum(count for _, _, count in shown),
        cells=[CellView(truth=truth, label=label, count=count) for truth, label, count in shown],
    )
    return json(view)


@router.get("/quality/calibration", responses=answers(CalibrationView, 422, 503))
def calibration(has: Has, task: Task) -> Response:
    """Return how far the confidences of the served predictions came true."""
    with has.replicas[task].held() as replica:
        model, known = ModelVersion(line=replica.line, seq=replica.seq), has.replicas[task].confidences()
    ece, bins = _bins(known)
    view = CalibrationView(
        task=task,
        model=model,
        stale_since=has.feed.stale_since,
        window_size=has.settings.quality_window,
        labels=len(known),
        ece=ece,
        bins=bins,
    )
    return json(view)


def most_frequent(cells: dict[tuple[str, str], float], limit: int) -> list[str]:
    """Return the classes with most labels and predictions, those first; not the missing label of a prediction or a verdict.

    >>> most_frequent({("a", "b"): 1.0, ("b", "b"): 2.0, ("a", ""): 1.0}, 1)
    ['b']
    """
    counted = Counter[str]()
    for (truth, label), count in cells.items():
        counted[truth] += count  # type: ignore[assignment]  # a Counter may well count by weights
        counted[label] += count  # type: ignore[assignment]  # the same
    del counted[""]
    return [name for name, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:limit]]


def _bins(known: list[tuple[float, bool]]) -> tuple[float | None, list[BinView]]:
    # Not before a model is loaded: numpy is the engine's.
    import numpy as np  # noqa: PLC0415 - see above

    from online_model.calibration_error import BINS, reliability  # noqa: PLC0415 - see above

    found = reliability(np.array([c for c, _ in known], np.float64), np.array([right for _, right in known], np.bool_))
    rows = zip(found.counts.tolist(), found.confidences.tolist(), found.hits.tolist(), strict=True)
    bins = [
        BinView(
            low=number / BINS,
            high=(number + 1) / BINS,
            labels=int(count),
            confidence=confidence / count if count else None,
            accuracy=hits / count if count else None,
        )
        for number, (count, confidence, hits) in enumerate(rows)
    ]
    return (found.ece if known else None), bins
