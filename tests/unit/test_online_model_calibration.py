import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model import calibration
from online_model.calibration import Floats

pytestmark = pytest.mark.unit

LEARN = """
import hashlib
import numpy as np
from online_model import calibration
draw = np.random.default_rng(1)
state = calibration.initial()
digest = hashlib.sha256()
for i in range(500):
    scores = draw.standard_normal(2 + i % 90) * 5
    digest.update(calibration.calibrated(scores.copy(), state))
    calibration.update(scores, i % 7, 0.5 + i % 2, state)
print(digest.hexdigest(), hashlib.sha256(state).hexdigest())
"""

scores_lists = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 1.0 + 2**-52, -1e300, 1e300]), min_size=1, max_size=30)
lessons = st.lists(st.tuples(scores_lists, st.integers(-1, 30), st.sampled_from([1.0, 1e-9, 0.3, 1000.0])), max_size=60)


def probabilities(scores: list[float] | Floats, state: Floats) -> Floats:
    return calibration.calibrated(np.array(scores, dtype=np.float64), state)


def learned(taught: list[tuple[list[float], int, float]]) -> Floats:
    state = calibration.initial()
    for scores, target, weight in taught:
        calibration.update(np.array(scores, dtype=np.float64), target, weight, state)
    return state


def ece(confidences: Floats, right: Floats) -> float:
    """Expected calibration error over 15 equal bins of confidence."""
    bins = np.minimum((confidences * 15).astype(int), 14)
    return sum(abs(float((confidences - right)[bins == b].sum())) for b in range(15)) / len(right)


def stream(count: int, *, scale: float, classes: int = 4, seed: int = 3) -> list[tuple[Floats, int]]:
    """Logits whose softmax is right, each multiplied by `scale`, with a class drawn from that softmax."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        true = draw.standard_normal(classes) * 2
        share = np.exp(true - true.max())
        rows.append((true * scale, int(draw.choice(classes, p=share / share.sum()))))
    return rows


def ece_of(rows: list[tuple[Floats, int]], state: Floats) -> float:
    """Predict and then learn each row; the error over the last half."""
    confidences, right = np.empty(len(rows)), np.empty(len(rows))
    for i, (scores, target) in enumerate(rows):
        proba = probabilities(scores, state)
        confidences[i], right[i] = proba.max(), float(proba.argmax() == target)
        calibration.update(scores, target, 1.0, state)
    half = len(rows) // 2
    return ece(confidences[half:], right[half:])


def test_before_the_first_label_it_is_the_softmax() -> None:
    scores = [0.5, -2.0, 3.0]
    expected = np.exp(scores) / np.exp(scores).sum()
    assert probabilities(scores, calibration.initial()) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(lessons, scores_lists)
def test_whatever_was_learned_the_best_stays_the_best_and_it_is_a_distribution(
    taught: list[tuple[list[float], int, float]], scores: list[float]
) -> None:
    state = learned(taught)
    assert np.isfinite(state).all()
    proba = probabilities(scores, state)
    assert proba.argmax() == np.argmax(scores)
    assert (proba >= 0).all()
    assert math.isclose(proba.sum(), 1.0, rel_tol=1e-12)
    assert not ((proba > 0) & (proba < sys.float_info.min)).any(), "no denormal floats"
    for size in (1, 5):
        assert probabilities([2.5] * size, state).tolist() == [1 / size] * size


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("classes", [2, 4, 50])
def test_wrong_scales_are_mended(scale: float, classes: int) -> None:
    rows = stream(3000, scale=scale, classes=classes)
    state = calibration.initial()
    assert ece_of(rows, state) < 0.03
    assert state[0] == pytest.approx(1 / scale, rel=0.25)


def test_a_sudden_change_is_followed() -> None:
    state = calibration.initial()
    ece_of(stream(3000, scale=1.0), state)
    draw = np.random.default_rng(5)
    swapped = [(scores, int(draw.integers(4))) for scores, _ in stream(2000, scale=1.0, seed=4)]
    assert ece_of(swapped, calibration.initial()) < 0.03
    assert ece_of(swapped, state) < 0.05
    assert probabilities([3.0, 0.0, 0.0, 0.0], state).max() < 0.4


def test_a_bend_that_no_scale_can_mend_is_mended() -> None:
    """A model that is right about 70 % of the texts and cannot know better about the others."""
    draw = np.random.default_rng(6)
    rows = [(scores, target if draw.random() < 0.7 else int(draw.integers(3))) for scores, target in stream(20_000, scale=1.0, classes=3)]
    scale_only = np.empty((len(rows), 2))
    state = calibration.initial()
    for i, (scores, target) in enumerate(rows):
        proba = probabilities(scores, state)
        scale_only[i] = proba.max(), proba.argmax() == target
        calibration.update(scores, target, 1.0, state)
        state[2:] = calibration.initial()[2:]
    assert ece(*scale_only[10_000:].T) > 0.025
    assert ece_of(rows, calibration.initial()) < 0.0125


def test_confidence_falls_while_unknown_classes_keep_coming() -> None:
    state = calibration.initial()
    before = probabilities([2.0, 0.0], state)[0]
    for _ in range(100):
        calibration.update(np.array([2.0, 0.0]), -1, 1.0, state)
    assert probabilities([2.0, 0.0], state)[0] < before - 0.2


def test_a_weight_is_worth_its_labels_and_one_label_does_not_decide() -> None:
    once = learned([([2.0, 0.0], 1, 1.0)])
    double = learned([([2.0, 0.0], 1, 2.0)])
    heavy = learned([([2.0, 0.0], 1, 1000.0)])
    start = calibration.initial()
    assert start[0] > once[0] > double[0] > heavy[0]
    assert (heavy == learned([([2.0, 0.0], 1, calibration.MOST_WEIGHT)])).all()
    assert heavy[0] > 0.5


def test_a_single_class_and_the_given_logits_are_left_alone() -> None:
    state = calibration.initial()
    calibration.update(np.array([3.0]), 0, 1.0, state)
    assert (state == calibration.initial()).all()
    scores = np.array([1.0, 2.0, 3.0])
    calibration.update(scores, 0, 1.0, state)
    assert scores.tolist() == [1.0, 2.0, 3.0]


@given(st.floats(min_value=-599, max_value=0))
def test_exp_is_as_exact_as_the_library(x: float) -> None:
    assert calibration.exp(x) == pytest.approx(math.exp(x), rel=2e-15)


def test_exp_ends() -> None:
    assert calibration.exp(0.0) == 1.0
    assert 0.0 < calibration.exp(-1e300) == calibration.exp(-600.0)


def test_the_bytes_do_not_depend_on_the_cpu(tmp_path: Path) -> None:
    def state(cpu: dict[str, str], cache: str) -> str:
        environment = {**os.environ, **cpu, "NUMBA_CACHE_DIR": str(tmp_path / cache), "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run([sys.executable, "-c", LEARN], env=environment, check=True, capture_output=True, text=True).stdout

    assert state({}, "host") == state({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, "generic")
