import functools
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from online_model import snapshots
from online_model.characters import UNICODE
from online_model.replica import Replica, SnapshotError
from schemas.log import Artifact, LabelEntry, Origin, ReleaseEntry
from schemas.records import FeedbackRef, ModelVersion, Position, Served

pytestmark = pytest.mark.unit

FIXTURES = Path(__file__).parents[1] / "fixtures"
FINGERPRINTS = ["504bd4cf", "7f2b6585", "090556a4"]
"""Of the lines in the fixture of format 3, their beginnings."""


def taught(labels: int) -> Replica:
    replica = Replica("t", memory_mib=1, quality_window=3)
    for seq in range(1, labels + 1):
        replica.apply(lesson(seq))
    return replica


def lesson(seq: int) -> LabelEntry:
    return LabelEntry(
        seq=seq,
        task="t",
        time=seq,
        event_id=str(seq),
        text=f"text {seq} ก",
        meta={},
        label=f"класс {seq % 3}",
        weight=1.0,
        served=Served(label=None, proba={}, classes=0, model=ModelVersion(line="base", seq=0)),
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


@functools.cache
def good() -> bytes:
    return taught(5).snapshot()


def with_lines() -> Replica:
    """Return a replica with a line that serves, the former one, and one that serves a share of the events."""
    replica = taught(29)
    origin = Origin(artifact=Artifact(address="t.releases/x", sha256="00", size_bytes=1), cut_seq=5)
    common: dict[str, Any] = {"task": "t", "time": 1, "by": "me", "why": "", "origin": origin}
    replica.apply(ReleaseEntry(**common, seq=30, line="r9-deadbeef", mode="split", share=0.25), brought=taught(9).model)
    replica.apply(ReleaseEntry(**common, seq=31, line="r5-0badcafe"), brought=taught(5).model)
    for seq in range(32, 37):
        replica.apply(lesson(seq))
    return replica


def write_fixture() -> None:
    """Write the fixture of this version's format, and print what the test has to say of it: see tests/fixtures/README.md."""
    replica = with_lines()
    (FIXTURES / f"snapshot-format-{snapshots.FORMAT}.safetensors").write_bytes(replica.snapshot())
    print([replica.fingerprint(line)[:8] for line in ("r5-0badcafe", "base", "r9-deadbeef")])  # noqa: T201 - for whoever runs it


def test_round_trip() -> None:
    replica = Replica.from_snapshot(good())
    assert replica.snapshot() == good() == taught(5).snapshot()
    assert replica.fingerprint() == taught(5).fingerprint()
    assert replica.model.specification == Replica("t", memory_mib=1).model.specification
    assert replica.quality.window == 3


def test_a_new_model_has_a_small_snapshot() -> None:
    data = Replica("t").snapshot()
    assert len(data) < 1300
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


@pytest.mark.parametrize("version", [0, 4, -1, 2**63])
def test_another_version_is_refused_with_the_reason(version: int) -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=rf"format {version}; this version reads \(1, 2, 3\)"):
        snapshots.decode(snapshots.encode(msgspec.structs.replace(header, format=version), arrays))


def test_another_unicode_is_refused_with_the_reason() -> None:
    header, arrays = snapshots.decode(good())
    assert header.unicode == UNICODE
    with pytest.raises(SnapshotError, match=r"Unicode 99\.0, here it is 1"):
        Replica.from_snapshot(snapshots.encode(msgspec.structs.replace(header, unicode="99.0"), arrays))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "softmax?memory_mib=1000000000000"},
        {"model": "softmax?learning_rate=1e400"},
        {"model": "softmax?depth=3"},
        {"model": "perceptron"},
        {"model": ""},
        {"classes": ["a", "a", "b"]},
        {"classes": []},
        {"classes": [str(c) for c in range(10_001)]},
        {"quality": {"window": 2**63}},
        {"quality": {"window": -1}},
        {"drift": {"detector": "crystal ball"}},
        {"drift": {"outcomes": "012"}},
    ],
)
def test_an_intact_header_that_says_what_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    header, arrays = snapshots.decode(good())
    fields = msgspec.to_builtins(header)
    for name, value in changes.items():
        where = fields["lines"][0] if name in fields["lines"][0] else fields
        where[name] = {**where[name], **value} if isinstance(value, dict) else value
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(snapshots.encode(msgspec.convert(fields, snapshots.Header), arrays))


@functools.cache
def several() -> bytes:
    return with_lines().snapshot()


LIES: list[tuple[int, dict[str, Any]]] = [
    (0, {"role": "former"}),
    (0, {"trial": {"line": "r5-0badcafe", "role": "former", "champion": "r5-0badcafe", "since_seq": 1}}),
    (1, {"role": None}),
    (1, {"trial": None}),
    (1, {"role": "shadow"}),
    (1, {"name": "r9-deadbeef"}),
    (1, {"name": "z"}),
    (1, {"model": "softmax?memory_mib=2"}),
    (2, {"classes": ["a"]}),
    (2, {"name": "r5-0badcafe"}),
]


@pytest.mark.parametrize(("number", "changes"), LIES)
def test_lines_that_no_replica_has_are_refused(number: int, changes: dict[str, Any]) -> None:
    header, arrays = snapshots.decode(several())
    fields = msgspec.to_builtins(header)
    fields["lines"][number] |= changes
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(
            snapshots.encode(msgspec.convert(fields, snapshots.Header), arrays), model=Replica("t", memory_mib=1).model.specification
        )


@pytest.mark.parametrize("changes", [{"labels": -1}, {"only_line": 99}, {"champion": "x"}, {"line": "x"}, {"line_log_loss": -1.0}])
def test_a_trial_that_cannot_have_come_about_is_refused(changes: dict[str, Any]) -> None:
    header, arrays = snapshots.decode(several())
    fields = msgspec.to_builtins(header)
    fields["lines"][2]["trial"] |= changes
    with pytest.raises(SnapshotError, match="a trial that cannot have come about"):
        Replica.from_snapshot(snapshots.encode(msgspec.convert(fields, snapshots.Header), arrays))


def test_too_many_lines_no_line_and_arrays_of_none_are_refused() -> None:
    header, arrays = snapshots.decode(several())
    for lines in ([], [*header.lines, *header.lines], [header.lines[n] for n in (0, 2, 1)]):
        with pytest.raises(SnapshotError, match="no replica has lines"):
            Replica.from_snapshot(snapshots.encode(msgspec.structs.replace(header, lines=lines), arrays))
    with pytest.raises(SnapshotError, match="belong to no line"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"3.rows": arrays["0.rows"]}))
    with pytest.raises(SnapshotError, match="is missing"):
        Replica.from_snapshot(snapshots.encode(header, {n: a for n, a in arrays.items() if n != "2.weights"}))


@given(st.data())
def test_a_flipped_bit_in_any_line_is_refused(data: st.DataObject) -> None:
    flipped = bytearray(several())
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(bytes(flipped))


def with_header(text: str) -> bytes:
    return safetensors.numpy.save({"rows": np.zeros(1, np.uint32)}, {snapshots.KEY: text})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "2",
        "{}",
        '{"format":3}',
        '{"format":3.0}',
        '{"format":true}',
        '{"format":[3]}',
        '{"format":' + "9" * 5000 + "}",
        '{"format":3,"task":"\\ud800"}',
        "[" * 200_000,
        '{"format":' * 50_000,
        '{"format":3,"x":' + "[" * 5000 + "]" * 5000 + "}",
        '{"format":3,"task":"' + "x" * 1_000_000,
    ],
)
def test_a_header_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(with_header(text))


@pytest.mark.parametrize("length", [0, 1, 8, 100, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(length.to_bytes(8, "little") + good()[8:])


@pytest.mark.parametrize(
    "lie",
    [
        {"dtype": "I16"},
        {"dtype": "BF16"},
        {"dtype": "nonsense"},
        {"shape": [1, 2**62]},
        {"shape": [-1]},
        {"shape": [2**32, 2**32]},
        {"shape": []},
        {"data_offsets": [0, 2**40]},
        {"data_offsets": [8, 0]},
        {"data_offsets": [0, 0]},
    ],
)
@pytest.mark.parametrize("name", ["rows", "weights", "calibrator"])
def test_a_table_of_contents_that_lies_is_refused(name: str, lie: dict[str, Any]) -> None:
    end = 8 + int.from_bytes(good()[:8], "little")
    contents = json.loads(good()[8:end])
    contents[f"0.{name}"] |= lie
    header = json.dumps(contents).encode()
    with pytest.raises(SnapshotError):
        Replica.from_snapshot(len(header).to_bytes(8, "little") + header + good()[end:])


def test_the_fixture_of_format_1_is_read_and_cannot_go_on() -> None:
    data = (FIXTURES / "snapshot-format-1.safetensors").read_bytes()
    header, arrays = snapshots.decode(data)
    assert (header.format, header.task, header.seq, header.quality.labels) == (1, "t", 5, 5)
    assert [(line.name, line.classes) for line in header.lines] == [("base", ["класс 1", "класс 2", "класс 0"])]
    assert {name: (array.dtype.name, array.shape) for name, array in arrays.items()} == {
        "0.rows": ("uint32", (43,)),
        "0.weights": ("float32", (43, 3)),
        "0.squares": ("float32", (43, 3)),
    }
    with pytest.raises(SnapshotError, match="format 1 holds the first model, which this version cannot go on with"):
        Replica.from_snapshot(data)
    with pytest.raises(SnapshotError, match="format 1 holds the first model, which this version cannot go on with"):
        Replica.from_snapshot(data, model="softmax")


def test_the_fixture_of_format_2_is_the_model_that_this_version_would_make() -> None:
    """If the engine learns something else from the same log, snapshot + log is no longer the model: a new format is due, and a fixture."""
    data = (FIXTURES / "snapshot-format-2.safetensors").read_bytes()
    replica = Replica.from_snapshot(data)
    assert (replica.task, replica.line, replica.seq, replica.quality.labels, len(replica.model.classes)) == ("t", "base", 30, 30, 3)
    assert replica.fingerprint() == "2fe529299b31a295dc33f474c4d48e1c9f70dc1b0a42efa03b6ebd589784ebd0"
    assert replica.predict("text 7 ก", top=3).proba == {"класс 1": 0.358072, "класс 0": 0.333366, "класс 2": 0.308562}
    assert replica.snapshot() == taught(30).snapshot()


def test_the_fixture_of_format_3_is_the_replica_that_this_version_would_make() -> None:
    data = (FIXTURES / "snapshot-format-3.safetensors").read_bytes()
    replica = Replica.from_snapshot(data)
    assert (replica.task, replica.line, replica.seq, replica.missing) == ("t", "r5-0badcafe", 36, frozenset())
    assert [(t.line, t.role, t.since_seq, t.labels) for t in replica.trials()] == [
        ("base", "former", 31, 5),
        ("r9-deadbeef", "split", 31, 5),
    ]
    assert [replica.fingerprint(line)[:8] for line in ("r5-0badcafe", "base", "r9-deadbeef")] == FINGERPRINTS
    assert replica.snapshot() == data
    assert with_lines().snapshot() == data


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": np.zeros(1, np.int64)}, "'rows' is missing or of another type"),
        ({"weights": np.zeros((1, 3), np.float32)}, "'weights' has shape"),
        ({"squares": np.zeros((1, 3), np.float64)}, "'squares' is missing or of another type"),
        ({"calibrator": np.zeros(3)}, "'calibrator' has shape"),
        ({"calibrator": np.full(24, math.nan)}, "'calibrator' holds numbers that nobody can have learned"),
        ({"counts": np.zeros(4)}, "'counts' has shape"),
        ({"counts": np.array([1.0, -1.0, 0.0])}, "'counts' holds numbers"),
        ({"counts": np.array([1.0, math.inf, 0.0])}, "'counts' holds numbers"),
    ],
)
def test_intact_bytes_that_are_no_model_are_refused(changes: snapshots.Arrays, reason: str) -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=reason):
        Replica.from_snapshot(snapshots.encode(header, arrays | snapshots.prefixed(0, changes)))


@pytest.mark.parametrize("place", [0, 1, 2, 12, 13, 23])
@pytest.mark.parametrize("value", [-1.0, -1e8, -1e300, 1e9, 0.001])
def test_a_calibrator_that_nobody_can_have_learned_is_refused(place: int, value: float) -> None:
    header, arrays = snapshots.decode(good())
    changed = arrays["0.calibrator"].copy()
    changed[place] = value
    # Curves are from -4 to 4, evidence grows without bound.
    if (place in {1, 13, 23} and value > 100) or (place in {2, 12} and abs(value) < 4):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"0.calibrator": changed}))
        return
    with pytest.raises(SnapshotError, match="'calibrator' holds numbers that nobody can have learned"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"0.calibrator": changed}))


def test_a_snapshot_of_another_model_is_refused_before_anything_of_it_is_loaded() -> None:
    with pytest.raises(SnapshotError, match=r"its model is softmax.*, not river:x"):
        Replica.from_snapshot(good(), model="river:x")


@pytest.mark.parametrize("name", ["weights", "squares"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(name: str, value: float) -> None:
    header, arrays = snapshots.decode(good())
    changed = arrays[f"0.{name}"].copy()
    changed.flat[7] = value
    with pytest.raises(SnapshotError, match=f"'{name}' holds numbers that nobody can have learned"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {f"0.{name}": changed}))


def test_a_row_that_would_be_in_no_snapshot_is_refused() -> None:
    header, arrays = snapshots.decode(good())
    changed = arrays["0.squares"].copy()
    changed[3] = 0.0
    with pytest.raises(SnapshotError, match="'squares' holds numbers that nobody can have learned"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"0.squares": changed}))


@pytest.mark.parametrize("name", ["rows", "weights", "squares", "calibrator", "counts"])
def test_a_missing_array_is_refused(name: str) -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=f"'{name}' is missing"):
        Replica.from_snapshot(snapshots.encode(header, {n: a for n, a in arrays.items() if n != f"0.{name}"}))


def test_rows_outside_the_table_are_refused() -> None:
    header, arrays = snapshots.decode(good())
    with pytest.raises(SnapshotError, match=r"row \d+ of \d+"):
        Replica.from_snapshot(snapshots.encode(header, arrays | {"0.rows": arrays["0.rows"] | np.uint32(2**20)}))
