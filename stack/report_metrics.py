"""The numbers of the report as pure functions of what was read and observed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.records import State
from stack.label_reference import Place

UNACCOUNTED = "unaccounted"

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Median and 99th percentile in milliseconds; null if nothing could be measured."""

    p50: float | None
    p99: float | None


class ServedScores(msgspec.Struct, frozen=True, kw_only=True):
    """How the predictions that were served fared against the labels, in 0..1; null without labels."""

    accuracy: float | None
    accuracy_last_half: float | None
    macro_f1_last_half: float | None


class Outcome(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An entry of a label or a verdict in the model log.

    Attributes:
        seq: its place in the log.
        label: what was learned; None for the verdict `wrong`.
        served: the label that had been served.
        place: the feedback record's.
        event: number of the event in the run.
        corrects: the label that was learned for the event before.
        marked: whether a verdict `wrong` had scored the event before.
        fingerprint: of the prediction that had been served and its text, which a verdict's entry does not hold.
    """

    seq: int
    label: str | None
    served: str | None
    place: Place
    event: int
    corrects: str | None = None
    marked: bool = False
    fingerprint: int = 0


class RecordCounts(msgspec.Struct, frozen=True):
    """Event records of the run: how many there are, how many have neither prediction nor dead letter, and answers beyond one each."""

    records: int
    missing: int
    duplicates: int


def record_counts(places: Ints, numbers: Ints, refused: Ints, sources: Ints, predicted: Ints) -> RecordCounts:
    """Hold predictions against the event records that they name: each must have one prediction or one dead letter.

    A prediction of a record that was refused, and one that names no record of its event, is one too many.

    Args:
        places: where each event record lies, as a number.
        numbers: the number of its event.
        refused: 1 where there is a dead letter.
        sources: the place that each prediction names.
        predicted: the number of its event.

    >>> record_counts(np.array([1, 2, 3]), np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([1, 1, 2]), np.array([0, 0, 0]))
    RecordCounts(records=3, missing=1, duplicates=1)
    """
    order = np.argsort(places)
    places, numbers, refused = places[order], numbers[order], refused[order]
    at = np.searchsorted(places, sources)
    inside = at < places.size
    known = inside.copy()
    known[inside] = (places[at[inside]] == sources[inside]) & (numbers[at[inside]] == predicted[inside])
    answers = np.bincount(at[known], minlength=places.size) + refused
    return RecordCounts(
        records=int(places.size),
        missing=int(np.count_nonzero(answers == 0)),
        duplicates=int(np.maximum(answers - 1, 0).sum()) + int(np.count_nonzero(~known)),
    )


def percentiles(milliseconds: Floats) -> Percentiles:
    """Return the percentiles, linearly interpolated, to a tenth of a millisecond.

    >>> percentiles(np.array([1.0, 2.0, 3.0]))
    Percentiles(p50=2.0, p99=3.0)
    """
    if not milliseconds.size:
        return Percentiles(p50=None, p99=None)
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return Percentiles(p50=round(float(p50), 1), p99=round(float(p99), 1))


def first_times(numbers: Ints, times: Floats, events: int) -> Floats:
    """Return for each event the first of its times, NaN where it has none; numbers outside 0..events-1 are left out.

    >>> first_times(np.array([1, -1, 1]), np.array([5.0, 1.0, 4.0]), 3).tolist()
    [nan, 4.0, nan]
    """
    first = np.full(events, np.inf)
    own = (numbers >= 0) & (numbers < events)
    np.minimum.at(first, numbers[own], times[own])
    first[np.isinf(first)] = np.nan
    return first


def event_latencies(sent_ms: Ints, seen_s: Floats) -> Floats:
    """Return the milliseconds from sending each event to seeing it; events that were never sent (time 0) or seen are left out."""
    known = ~np.isnan(seen_s) & (sent_ms > 0)
    return np.asarray(seen_s[known] * 1000 - sent_ms[known], np.float64)


def label_latencies(seqs: Ints, sent_ms: Ints, arrived_s: Floats, arrived_seq: Ints) -> Floats:
    """Return for each label the milliseconds from sending it to the first prediction of a model that includes it.

    Args:
        seqs: the seq of each label.
        sent_ms: when each label was sent, epoch milliseconds.
        arrived_s: when predictions arrived, epoch seconds.
        arrived_seq: the seq of the model that made each.

    Returns:
        As many numbers as labels; NaN for a label after which no such prediction was seen.

    >>> label_latencies(np.array([1, 2, 3]), np.array([1000, 1000, 1000]), np.array([1.5, 2.5]), np.array([1, 2])).tolist()
    [500.0, 1500.0, nan]
    """
    order = np.argsort(arrived_s, kind="stable")
    reached = np.maximum.accumulate(arrived_seq[order]) if order.size else arrived_seq
    index = np.searchsorted(reached, seqs, side="left")
    times = np.append(arrived_s[order], np.nan)
    return np.asarray(times[index] * 1000 - sent_ms, np.float64)


def served_scores(outcomes: Sequence[Outcome]) -> ServedScores:
    """Score each event once, in the order of seq: by the label that was learned for it last, else as wrong by its verdict.

    The last half is the second half of them.
    """
    last = {o.event: o for o in sorted(outcomes, key=lambda o: (o.label is not None, o.seq))}
    ordered = sorted(last.values(), key=lambda o: o.seq)
    half = ordered[len(ordered) // 2 :]
    return ServedScores(accuracy=accuracy(ordered), accuracy_last_half=accuracy(half), macro_f1_last_half=macro_f1(half))


def accuracy(outcomes: Sequence[Outcome]) -> float | None:
    """Return the share of outcomes whose label had been served; a prediction without a label is wrong."""
    return round(sum(o.label == o.served for o in outcomes) / len(outcomes), 6) if outcomes else None


def macro_f1(outcomes: Sequence[Outcome]) -> float | None:
    """Return the mean F1 of the classes that occur as label or as prediction.

    >>> rows = [("a", "a"), ("a", "b"), ("b", "b")]
    >>> round(macro_f1([Outcome(seq=1, label=label, served=served, place=(0, 0), event=0) for label, served in rows]), 4)
    0.6667
    """
    true = Counter(o.label for o in outcomes if o.label is not None)
    guessed = Counter(o.served for o in outcomes if o.served is not None)
    hits = Counter(o.label for o in outcomes if o.label == o.served)
    f1 = [2 * hits[c] / (true[c] + guessed[c]) for c in true.keys() | guessed.keys()]
    return round(sum(f1) / len(f1), 6) if f1 else None


def label_counts(feedback: Collection[Place], last_state: Mapping[Place, State]) -> dict[str, int]:
    """Return how many of the feedback records are in each state; one without any counts as unaccounted.

    >>> {k: v for k, v in label_counts([(0, 1), (0, 2)], {(0, 1): State.TRAINED}).items() if v}
    {'trained': 1, 'unaccounted': 1}
    """
    found = Counter(str(last_state.get(place, UNACCOUNTED)) for place in feedback)
    return {name: found[name] for name in (*(str(s) for s in State), UNACCOUNTED)}
