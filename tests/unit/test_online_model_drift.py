import importlib
import random
import subprocess
import sys
from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model import drift
from online_model.drift import MEMORY, DriftMonitor, Watch
from schemas.drift import Drift
from schemas.settings import DriftDetector

pytestmark = pytest.mark.unit

DETECTORS: list[DriftDetector] = [name for name in get_args(DriftDetector) if name != "none"]
every_detector = pytest.mark.parametrize("detector", DETECTORS)


def outcomes(*parts: tuple[int, float], seed: int = 1) -> list[bool]:
    """Outcomes of so many labels at such a share of errors, one part after the other."""
    draw = random.Random(seed)
    return [draw.random() < share for count, share in parts for _ in range(count)]


def watched(monitor: DriftMonitor, errors: list[bool], start: int = 0) -> list[Drift]:
    return [alarm for seq, error in enumerate(errors, start) if (alarm := monitor.add(error=error, seq=seq)) is not None]


@every_detector
def test_more_errors_raise_one_alarm_soon(detector: DriftDetector) -> None:
    monitor = DriftMonitor(detector)
    (alarm,) = watched(monitor, outcomes((2000, 0.05), (500, 0.6)))
    assert (alarm.number, alarm.detector) == (1, detector)
    assert 2000 <= alarm.seq < 2200
    assert alarm.errors_before < 0.1
    assert alarm.errors_after > 2 * alarm.errors_before
    assert alarm.labels_before + alarm.labels_after == alarm.seq + 1
    assert (monitor.alarms, monitor.last, monitor.raised_at(alarm.seq), monitor.raised_at(alarm.seq + 1)) == (1, alarm, alarm, None)


@every_detector
def test_fewer_errors_raise_none(detector: DriftDetector) -> None:
    monitor = DriftMonitor(detector)
    assert watched(monitor, outcomes((1000, 0.8), (1000, 0.4), (1000, 0.2), (4000, 0.02))) == []
    assert monitor.alarms == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 1.0])
def test_steady_errors_raise_none(share: float) -> None:
    assert watched(DriftMonitor(), outcomes((12_000, share))) == []


@every_detector
def test_alarms_are_counted_on(detector: DriftDetector) -> None:
    monitor = DriftMonitor(detector)
    alarms = watched(monitor, outcomes((1500, 0.02), (600, 0.7), (1500, 0.02), (600, 0.7)))
    assert [alarm.number for alarm in alarms] == list(range(1, len(alarms) + 1))
    assert len(alarms) >= 2
    assert all(a.seq < b.seq for a, b in pairwise(alarms))


@every_detector
@settings(deadline=None, max_examples=10)
@given(st.data())
def test_stored_and_restored_anywhere_it_goes_on_as_if_it_had_not_been(detector: DriftDetector, data: st.DataObject) -> None:
    """Also where the detector has just been replaced, and around alarms and falls."""
    errors = outcomes((2 * MEMORY + 300, 0.05), (400, 0.5), (1500, 0.05), (100, 0.9), seed=data.draw(st.integers(0, 9)))
    straight = DriftMonitor(detector)
    expected = watched(straight, errors)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(errors)) | st.integers(2 * MEMORY - 2, 2 * MEMORY + 2), max_size=4)))
    monitor, found = DriftMonitor(detector), []
    for start, end in pairwise([0, *cuts, len(errors)]):
        found += watched(monitor, errors[start:end], start)
        state = msgspec.json.decode(msgspec.json.encode(monitor.stored()), type=Watch)
        monitor = DriftMonitor.from_stored(state)
    assert found == expected
    assert expected
    assert monitor == straight


def test_memory_is_bounded() -> None:
    monitor = DriftMonitor()
    sizes = set()
    for seq in range(4 * MEMORY):
        monitor.add(error=seq % 9 == 0, seq=seq)
        sizes.add(len(monitor._outcomes))
    assert sizes == set(range(1, 2 * MEMORY))


def test_none_watches_nothing() -> None:
    monitor = DriftMonitor("none")
    monitor.prepare()
    assert watched(monitor, outcomes((1000, 0.0), (1000, 1.0))) == []
    assert monitor.stored() == Watch("none", "", 0, None)


def test_another_detector_starts_afresh_and_counts_on() -> None:
    monitor = DriftMonitor()
    assert monitor.with_detector("adwin") is monitor
    (alarm,) = watched(monitor, outcomes((500, 0.05), (200, 0.9)))
    other = monitor.with_detector("ddm")
    assert other.stored() == Watch("ddm", "", 1, alarm)
    (second,) = watched(other, outcomes((500, 0.05), (200, 0.9)), 1000)
    assert (second.number, second.detector) == (2, "ddm")


@pytest.mark.parametrize(
    "stored",
    [Watch("kswin", "", 0, None), Watch("adwin", "012", 0, None), Watch("adwin", "0" * 2 * MEMORY, 0, None), Watch("", "", 0, None)],
)
def test_what_no_monitor_stores_is_refused(stored: Watch) -> None:
    with pytest.raises(ValueError, match="outcome"):
        DriftMonitor.from_stored(stored)


def test_the_detectors_are_rivers() -> None:
    river_drift: Any = importlib.import_module("river.drift")  # it takes a second, and only this test needs it; River is untyped

    for name, theirs in (("adwin", river_drift.ADWIN(delta=0.005, clock=8)), ("hddm_a", river_drift.binary.HDDM_A(drift_confidence=1e-4))):
        ours = drift._make(name)
        found: list[tuple[bool, bool]] = []
        for error in outcomes((900, 0.05), (300, 0.4)):
            ours.update(int(error))
            theirs.update(int(error))
            found.append((ours.drift_detected, theirs.drift_detected))
        assert [a for a, _ in found] == [b for _, b in found]
        assert any(a for a, _ in found)


def test_loading_them_brings_neither_scipy_stats_nor_pandas() -> None:
    code = "import sys; from online_model import drift; drift.warm_up(); print({'scipy.stats', 'pandas', 'river.drift'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
