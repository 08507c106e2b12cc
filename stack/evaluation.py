"""Offline prequential evaluation: the replica of the jobs predicts each event, and learns its label a few events later."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec
import numpy as np

from online_model.calibration_error import Flags, Floats, Reliability, calibrated_ece, reliability
from online_model.drift import describe
from online_model.memory import memory_bytes
from online_model.models import TextModel
from online_model.prequential import NOTHING, Prequential
from online_model.replica import Replica
from schemas.log import LabelEntry
from schemas.records import FeedbackRef, Position, Served
from schemas.settings import Settings
from stack.evaluation_data import Data
from stack.evaluation_report import Alarm, CurvePoint, Evaluated, PrequentialScores, Scores
from store.labelled_files import Row

TASK = "evaluate"
TOP = 500
"""Classes that a prediction lists: the most that the jobs allow, so that the log loss is of what the model says, not of a rest."""

CURVE_POINTS = 100
CONFUSIONS = 50
_TIMED_TEXTS = 5000
_TIMED_S = 0.7
_ROUNDS = 3

Progress = Callable[[int], None]
"""Is told of each row that is done, by their number."""


class Outcomes:
    """What was predicted and what came, for each label that scored a prediction, in order."""

    def __init__(self) -> None:
        self.true: list[str] = []
        self.predicted: list[str] = []
        self._confidences: list[float] = []

    def add(self, true: str, served: Served) -> None:
        """Note a label and the prediction that it scores."""
        self.true.append(true)
        self.predicted.append(served.label or NOTHING)
        self._confidences.append(next(iter(served.proba.values()), 0.0))

    @property
    def confidences(self) -> Floats:
        """The probability of the predicted class, of each prediction."""
        return np.array(self._confidences)

    @property
    def correct(self) -> Flags:
        """Whether the prediction came true, of each."""
        return np.array([true == said for true, said in zip(self.true, self.predicted, strict=True)], dtype=np.bool_)

    def reliability(self, start: int = 0) -> Reliability:
        """Return the reliability bins of the predictions from the `start`-th on."""
        return reliability(self.confidences[start:], self.correct[start:])

    def confusion(self) -> Counter[tuple[str, str]]:
        """Return how often each class was predicted for each true class."""
        return Counter(zip(self.true, self.predicted, strict=True))


class Run(msgspec.Struct, frozen=True):
    """One model on one file: the report, and the outcomes behind it."""

    report: Evaluated
    outcomes: Outcomes


class _Timed:
    """A model whose learning is timed."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self.labels = 0
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def learn_one(self, x: str, y: str, w: float = 1.0) -> None:
        """Learn, and add the time that it took."""
        began = time.perf_counter()
        self._model.learn_one(x, y, w)
        self.seconds += time.perf_counter() - began
        self.labels += 1


def evaluate(
    data: Data, model: str, settings: Settings, *, label_delay: int, label_fraction: float, progress: Progress = lambda _: None
) -> Run:
    """Evaluate one model on one file.

    Args:
        data: the rows.
        model: specification of the model.
        settings: all else that a replica is made of.
        label_delay: the label of an event comes after so many further events.
        label_fraction: what share of the labels comes; for the report, `data` says which.
        progress: is told of rows that are done.
    """
    replica = Replica.configured(msgspec.structs.replace(settings, model=model), TASK)
    alone, timed = replica.model, _Timed(replica.model)
    replica.model = cast("TextModel", timed)
    outcomes, alarms = Outcomes(), list[Alarm]()
    for entry in _labels(data, replica, label_delay, progress):
        replica.apply(entry)
        if entry.served is not None:
            outcomes.add(entry.label, entry.served)
        if (raised := replica.drift.raised_at(entry.seq)) is not None:
            alarms.append(Alarm(len(outcomes.true), describe(raised)))
    report = Evaluated(
        file=data.name,
        model=model,
        specification=alone.specification,
        rows=len(data.train) + len(data.test),
        classes=len(alone.classes),
        label_delay=label_delay,
        label_fraction=label_fraction,
        prequential=_prequential_scores(replica.quality, outcomes),
        test=_test_scores(replica, data.test, progress) if data.test else None,
        predict_per_second=_predictions_per_second(alone, [row.text for row in data.test or data.train]),
        learn_per_second=round(timed.labels / timed.seconds, 1),
        memory_mib=round(memory_bytes(alone) / 2**20, 3),
        window=_window(len(outcomes.true)),
        curve=learning_curve(outcomes.correct),
        alarms=alarms,
        confusions=_most_confused(outcomes.confusion()),
    )
    return Run(report, outcomes)


def _labels(data: Data, replica: Replica, delay: int, progress: Progress) -> Iterator[LabelEntry]:
    """Predict the events in order, and yield the log entries of their labels as they come, each to be applied at once.

    An event whose label never comes is not predicted: nothing would become of it.
    """
    waiting: deque[tuple[int, LabelEntry]] = deque()
    seq = 0
    for number, (row, taken) in enumerate(zip(data.train, data.taken, strict=True)):
        progress(1)
        if taken:
            seq += 1
            waiting.append((number + delay, _entry(seq, number, row, replica.predict(row.text, top=TOP))))
        while waiting and waiting[0][0] <= number:
            yield waiting.popleft()[1]
    yield from (entry for _, entry in waiting)


def _entry(seq: int, number: int, row: Row, served: Served) -> LabelEntry:
    return LabelEntry(
        seq=seq,
        task=TASK,
        time=max(0, row.ts or 0),
        event_id=str(number),
        text=row.text,
        meta=row.meta,
        label=row.label or NOTHING,
        weight=1.0,
        served=served,
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


def _prequential_scores(quality: Prequential, outcomes: Outcomes) -> PrequentialScores:
    half = len(outcomes.true) // 2
    random = np.random.default_rng(0)
    return PrequentialScores(
        **msgspec.structs.asdict(_scores(quality, outcomes)),
        ece_last_half=round(outcomes.reliability(half).ece, 6),
        ece_calibrated_p95=round(calibrated_ece(outcomes.confidences[half:], random), 6),
    )


def _scores(quality: Prequential, outcomes: Outcomes) -> Scores:
    overall = quality.overall()
    return Scores(
        accuracy=round(overall.accuracy, 6),
        macro_f1=round(overall.macro_f1, 6),
        log_loss=round(overall.log_loss, 6),
        ece=round(outcomes.reliability().ece, 6),
        labels=overall.labels,
    )


def _test_scores(replica: Replica, rows: Sequence[Row], progress: Progress) -> Scores:
    """Score the replica as it is; it learns nothing."""
    quality, outcomes = Prequential(window=1), Outcomes()
    for row in rows:
        served = replica.predict(row.text, top=TOP)
        label = row.label or NOTHING
        quality.add(label, served, 1.0)
        outcomes.add(label, served)
        progress(1)
    return _scores(quality, outcomes)


def _predictions_per_second(model: TextModel, texts: Sequence[str]) -> float:
    """Return the best rate of a few rounds over the same texts, which were taken from all places of the file."""
    chosen = texts[:: max(1, len(texts) // _TIMED_TEXTS)]
    best = 0.0
    for _ in range(_ROUNDS):
        done, began = 0, time.perf_counter()
        while (seconds := time.perf_counter() - began) < _TIMED_S and done < len(chosen):
            for text in chosen[done : done + 10]:
                model.predict_proba_one(text)
            done = min(done + 10, len(chosen))
        seconds = time.perf_counter() - began
        best = max(best, done / seconds)
    return round(best, 1)


def learning_curve(correct: Flags) -> list[CurvePoint]:
    """Return the accuracy over all labels and over the last few, at evenly spread places.

    >>> learning_curve(np.array([False, True, True, True]))[-1]
    CurvePoint(labels=4, accuracy=0.75, recent=0.75)
    """
    total, window = len(correct), _window(len(correct))
    hits = np.concatenate(([0], np.cumsum(correct)))
    places = np.unique(np.linspace(0, total, min(CURVE_POINTS, total) + 1).astype(int)[1:])
    return [
        CurvePoint(int(at), round(float(hits[at] / at), 6), round(float((hits[at] - hits[max(0, at - window)]) / min(at, window)), 6))
        for at in places
    ]


def _window(labels: int) -> int:
    return min(1000, max(50, labels // 20))


def _most_confused(confusion: Counter[tuple[str, str]]) -> list[tuple[str, str, int]]:
    mistakes = [(true, said, count) for (true, said), count in confusion.items() if true != said]
    return sorted(mistakes, key=lambda m: (-m[2], m[0], m[1]))[:CONFUSIONS]
