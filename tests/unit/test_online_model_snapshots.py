import functools

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from online_model import snapshots
from online_model.replica import Replica, SnapshotError
from schemas.records import FeedbackRef, LabelEntry, ModelVersion, Position, Served

pytestmark = pytest.mark.unit


def taught(labels: int) -> Replica:
    replica = Replica("t", memory_mib=1, quality_window=3)
    for seq in range(1, labels + 1):
        text = f"text {seq} ก"
        replica.apply(
            LabelEntry(
                seq=seq,
                task="t",
                time=seq,
                event_id=str(seq),
                text=text,
                meta={},
                label=f"класс {seq % 3}",
                weight=1.0,
                served=Served(label=None, proba={}, classes=0, model=ModelVersion(line="base", seq=0)),
                feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
            )
        )
    return replica


@functools.cache
def good() -> bytes:
    return taught(5).snapshot()


def test_round_trip() -> None:
    replica = Replica.from_snapshot(good())
    assert replica.snapshot() == good() == taught(5).snapshot()
    assert replica.fingerprint() == taught(5).fingerprint()
    assert replica.model.specification == Replica("t", memory_mib=1).model.specification
    assert replica.quality.window == 3


def test_a_new_model_has_a_small_snapshot() -> None:
    data = Replica("t").snapshot()
    assert len(data) < 1000
    assert Replica.from_snapshot(data).fingerprint() == Replica("t").fingerprint()


@given(st.data())
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(good()) - 1) | st.integers(0, 1500))
    flipped = bytearray(good())
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(bytes(flipped))


@given(st.data())
def test_a_truncated_or_prolonged_file_is_refused(data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(good()) - 1))
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(good()[:end])
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(good() + data.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(data)


def test_a_safetensors_file_of_others_is_refused_with_the_reason() -> None:
    with pytest.raises(SnapshotError, match="no snapshot of Millrace"):
        Replica.from_snapshot(safetensors.numpy.save({"x": np.zeros(3)}))
    with pytest.raises(SnapshotError, match="no snapshot of Millrace"):
        Replica.from_snapshot(safetensors.numpy.save({"x": np.zeros(3)}, {"format": "np"}))


def test_another_version_is_refused_with_the_reason() -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match="format 2; this version reads 1"):
        snapshots.decode(snapshots.encode(msgspec.structs.replace(header, format=2), arrays))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": np.zeros(1, np.int64)}, "'rows' is missing or of another type"),
        ({"weights": np.zeros((1, 3), np.float32)}, "'weights' has shape"),
        ({"squares": np.zeros((1, 3), np.float64)}, "'squares' is missing or of another type"),
    ],
)
def test_intact_bytes_that_are_no_model_are_refused(changes: snapshots.Arrays, reason: str) -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=reason):
        Replica.from_snapshot(snapshots.encode(header, arrays | changes))


def test_rows_outside_the_table_are_refused() -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=r"row \d+ of 16384"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"rows": arrays["rows"] | np.uint32(2**20)}))
