"""What the report and the registry read off an outcome; the curves as TensorBoard reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]  # it has no types

from batch_model.event_files import slugs, write_event_files
from batch_model.outcome import Candidate, Compared, calibration, confused_pairs, confusion

pytestmark = pytest.mark.unit


def compared(true: str, champion: str | None, challenger: str | None, text: str = "t", sure: float = 0.5) -> Compared:
    return Compared(text=text, true=true, champion=champion, champion_confidence=0.25, challenger=challenger, challenger_confidence=sure)


LABELS = [
    compared("a", "a", "a", "one"),
    compared("a", "b", "b", "two", 0.7),
    compared("a", "a", "b", "three", 0.9),
    compared("a", "a", "b", "three", 0.6),
    compared("b", None, "a", "four", 1.0),
    compared("b", "b", "b", "five"),
]


def test_confusion_counts_what_each_of_the_two_said_and_nothing_said_as_a_mistake() -> None:
    assert confusion(LABELS, "challenger") == Counter({("a", "a"): 1, ("a", "b"): 3, ("b", "a"): 1, ("b", "b"): 1})
    assert confusion(LABELS, "champion") == Counter({("a", "a"): 3, ("a", "b"): 1, ("b", ""): 1, ("b", "b"): 1})


def test_confused_pairs_are_the_most_frequent_mistakes_with_different_texts_the_surest_first() -> None:
    first, second = confused_pairs(LABELS, 5)
    assert (first.true, first.said, first.times, first.champion_times) == ("a", "b", 3, 1)
    assert [(e.text, e.confidence) for e in first.examples] == [("three", 0.9), ("two", 0.7)]
    assert (second.true, second.said, second.times) == ("b", "a", 1)
    assert confused_pairs(LABELS, 1) == [first]


def test_calibration_is_of_the_model_asked_for() -> None:
    bins = calibration(LABELS, "challenger")
    assert bins.counts.sum() == 6
    assert bins.hits.sum() == 2
    assert calibration(LABELS, "champion").confidences.sum() == pytest.approx(6 * 0.25)


def candidate(name: str, epochs: list[dict[str, float]]) -> Candidate:
    return Candidate(name=name, parameters={}, epochs=epochs, validation={}, seconds=1.0)


def test_tensorboard_reads_each_pass_of_each_candidate(tmp_path: Path) -> None:
    made = [
        candidate("low rank/64", [{"train_loss": 1.5, "validation_accuracy": 0.5}, {"train_loss": 1.25, "validation_accuracy": 0.75}]),
        candidate("low rank 64", [{"train_loss": 2.0}, {"train_loss": float("nan")}, {"train_loss": 1.0}]),
        candidate("closed form", []),
    ]
    write_event_files(tmp_path, made, 1_700_000_000.0)
    assert slugs(made) == ["low-rank-64", "low-rank-64-2", "closed-form"]
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["low-rank-64", "low-rank-64-2"]
    first, second = (EventAccumulator(str(tmp_path / name)) for name in slugs(made)[:2])
    first.Reload()
    second.Reload()
    assert [(e.step, e.value, e.wall_time) for e in first.Scalars("train_loss")] == [(1, 1.5, 1.7e9), (2, 1.25, 1.7e9)]
    assert [(e.step, e.value) for e in first.Scalars("validation_accuracy")] == [(1, 0.5), (2, 0.75)]
    assert [(e.step, e.value) for e in second.Scalars("train_loss")] == [(1, 2.0), (3, 1.0)]
