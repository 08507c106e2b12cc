"""The expected calibration error against a plain computation, and what chance alone gives against chance itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.calibration_error import BINS, calibrated_ece, reliability

pytestmark = pytest.mark.unit

predictions = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def plain_ece(pairs: list[tuple[float, bool]]) -> float:
    total = 0.0
    for b in range(BINS):
        inside = [(c, hit) for c, hit in pairs if b / BINS <= c < (b + 1) / BINS or (b == BINS - 1 and c == 1.0)]
        if inside:
            confidence = np.mean([c for c, _ in inside])
            accuracy = np.mean([hit for _, hit in inside])
            total += float(len(inside) / len(pairs) * abs(accuracy - confidence))
    return total


@given(predictions.map(lambda pairs: [(c, hit) for c, hit in pairs if abs(c * BINS - round(c * BINS)) > 1e-9 or c in {0.0, 1.0}]))
def test_it_is_what_a_plain_computation_gives(pairs: list[tuple[float, bool]]) -> None:
    found = reliability(np.array([c for c, _ in pairs]), np.array([hit for _, hit in pairs], dtype=np.bool_))
    assert found.counts.sum() == len(pairs)
    assert found.ece == pytest.approx(plain_ece(pairs) if pairs else 0.0, abs=1e-12)


def test_a_model_that_is_always_sure_and_wrong_has_the_largest_error() -> None:
    assert reliability(np.ones(5), np.zeros(5, dtype=np.bool_)).ece == 1.0
    assert reliability(np.ones(5), np.ones(5, dtype=np.bool_)).ece == 0.0


def test_a_calibrated_model_stays_below_the_simulated_bound_95_times_in_100_and_a_bold_one_does_not() -> None:
    random = np.random.default_rng(5)
    confidences = random.uniform(0.3, 1.0, 800)
    bound = calibrated_ece(confidences, np.random.default_rng(0))
    honest = [reliability(confidences, random.random(800) < confidences).ece for _ in range(400)]
    bold = [reliability(confidences, random.random(800) < confidences - 0.1).ece for _ in range(50)]
    assert 0.91 <= np.mean([error < bound for error in honest]) <= 0.985
    assert min(bold) > bound
    assert calibrated_ece(confidences, np.random.default_rng(0)) == bound
    assert calibrated_ece(np.array([]), random) == 0.0
