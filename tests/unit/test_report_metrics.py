from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics

from schemas.records import State
from stack.report_metrics import (
    UNACCOUNTED,
    Outcome,
    Percentiles,
    accuracy,
    event_latencies,
    first_times,
    label_counts,
    label_latencies,
    macro_f1,
    percentiles,
    record_counts,
    served_scores,
)
from stack.sampling import RestartCount

pytestmark = pytest.mark.unit


def outcomes(*pairs: tuple[str, str | None]) -> list[Outcome]:
    return [Outcome(seq=seq, label=label, served=served, place=(0, seq), event=seq) for seq, (label, served) in enumerate(pairs, 1)]


def test_served_scores_follow_the_seq_and_halve_by_it() -> None:
    rows = outcomes(("a", None), ("a", "b"), ("a", "a"), ("b", "b"))
    scores = served_scores(rows[::-1])
    assert (scores.accuracy, scores.accuracy_last_half, scores.macro_f1_last_half) == (0.5, 1.0, 1.0)


def test_an_event_is_scored_once_by_the_label_that_was_learned_last() -> None:
    rows = [
        Outcome(seq=1, label="wrong", served="a", place=(0, 1), event=7),
        Outcome(seq=2, label="b", served="a", place=(0, 2), event=8),
        Outcome(seq=3, label="a", served="a", place=(0, 3), event=7, corrects="wrong"),
    ]
    scores = served_scores(rows)
    assert (scores.accuracy, scores.accuracy_last_half) == (0.5, 1.0)


def test_each_event_record_has_one_answer() -> None:
    def counts(places: list[int], numbers: list[int], refused: list[int], sources: list[int], predicted: list[int]) -> tuple[int, int, int]:
        found = record_counts(*(np.array(column, np.int64) for column in (places, numbers, refused, sources, predicted)))
        return (found.records, found.missing, found.duplicates)

    assert counts([], [], [], [], []) == (0, 0, 0)
    assert counts([], [], [], [5], [0]) == (0, 0, 1), "a prediction of no record"
    assert counts([30, 10, 20], [0, 0, 1], [0, 0, 1], [10, 30], [0, 0]) == (3, 0, 0), "an event sent twice has two predictions"
    assert counts([10, 20], [0, 1], [0, 1], [10, 20], [0, 1]) == (2, 0, 1), "predicted and refused"
    assert counts([10, 20], [0, 1], [0, 0], [10, 10], [0, 0]) == (2, 1, 1), "one twice, one never"
    assert counts([10, 20], [0, 1], [0, 0], [10, 20], [0, 0]) == (2, 1, 1), "a prediction that names the record of another event"
    assert counts([10], [0], [0], [99], [0]) == (1, 1, 1), "a prediction that names a record that is not there"


def test_scores_of_nothing_are_null() -> None:
    scores = served_scores([])
    assert scores.accuracy is scores.accuracy_last_half is scores.macro_f1_last_half is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=50))
def test_macro_f1_agrees_with_river(pairs: list[tuple[str, str]]) -> None:
    river: Any = metrics.MacroF1()  # type: ignore[no-untyped-call]  # River is untyped
    for true, served in pairs:
        river.update(true, served)
    assert macro_f1(outcomes(*pairs)) == pytest.approx(river.get(), abs=1e-6)


def test_a_prediction_without_label_is_wrong_but_no_class() -> None:
    rows = outcomes(("a", None), ("a", "a"))
    assert accuracy(rows) == 0.5
    assert macro_f1(rows) == pytest.approx(2 / 3, abs=1e-6)


def test_a_wrong_counts_as_an_error_unless_a_label_has_come_for_the_event() -> None:
    wrong = Outcome(seq=1, label=None, served="a", place=(0, 0), event=7)
    label = Outcome(seq=2, label="a", served="a", place=(0, 1), event=7, marked=True)
    other = Outcome(seq=3, label="b", served="b", place=(0, 2), event=8)
    assert served_scores([wrong, other]).accuracy == 0.5
    assert macro_f1([wrong, other]) == pytest.approx(0.5), "a false positive of `a`"
    assert (
        served_scores([wrong, label, other]).accuracy
        == served_scores([label, msgspec.structs.replace(wrong, seq=9), other]).accuracy
        == 1.0
    )


def test_percentiles() -> None:
    assert percentiles(np.arange(101.0)) == Percentiles(p50=50.0, p99=99.0)
    assert percentiles(np.empty(0)) == Percentiles(p50=None, p99=None)


def test_the_first_of_several_times_counts() -> None:
    times = first_times(np.array([2, 0, 2, 7, -1]), np.array([9.0, 5.0, 3.0, 1.0, 1.0]), 3)
    assert times[0] == 5.0
    assert np.isnan(times[1])
    assert times[2] == 3.0


def test_event_latencies_leave_out_what_was_not_seen_or_not_sent() -> None:
    assert event_latencies(np.array([1000, 1000, 0]), np.array([1.25, np.nan, 2.0])).tolist() == [250.0]


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 20)), max_size=40),
    seqs=st.lists(st.integers(1, 25), max_size=20),
)
def test_label_latencies_agree_with_the_definition(arrivals: list[tuple[int, int]], seqs: list[int]) -> None:
    at = np.array([a for a, _ in arrivals], np.float64)
    reached = np.array([s for _, s in arrivals], np.int64)
    found = label_latencies(np.array(seqs, np.int64), np.zeros(len(seqs), np.int64), at, reached)
    for seq, latency in zip(seqs, found, strict=True):
        expected = min((a * 1000 for a, s in arrivals if s >= seq), default=None)
        assert (None if np.isnan(latency) else latency) == expected


def test_every_feedback_record_counts_once() -> None:
    feedback = {(0, 1), (0, 2), (1, 1)}
    states = {(0, 1): State.TRAINED, (0, 2): State.WAITING, (3, 9): State.ORPHAN}
    counts = label_counts(feedback, states)
    assert sum(counts.values()) == 3
    assert (counts["trained"], counts["waiting"], counts["orphan"], counts[UNACCOUNTED]) == (1, 1, 0, 1)
    assert set(counts) == {*State, UNACCOUNTED}


def test_restarts_are_added_up_over_new_counters() -> None:
    count = RestartCount({"part": 1, "job": 4})
    for counters in ({"part": 1, "job": 4}, {"part": 2, "job": 4}, {}, {"part": 2, "job": 0, "job 2": 1}, {"job": 1}):
        count.add(counters)
    assert count.total == 3
