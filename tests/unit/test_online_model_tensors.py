"""Safetensors files of our own making against the format's own library."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from online_model import tensors
from online_model.tensors import TensorsError

pytestmark = pytest.mark.unit

DTYPES = ("u8", "i8", "f8", "f4", "u4", "i4", "f2", "u2", "i2", "i1", "u1", "?")
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != tensors.METADATA)
some_arrays = st.dictionaries(
    names, st.sampled_from(DTYPES).flatmap(lambda t: arrays_of.arrays(t, arrays_of.array_shapes(min_side=0, max_side=4)))
)


@given(some_arrays, st.text(st.characters(codec="utf-8")))
def test_a_file_is_the_one_that_the_library_writes_and_both_read_it(arrays: tensors.Arrays, note: str) -> None:
    data = tensors.write(arrays, {"note": note})
    assert data == safetensors.numpy.save(arrays, {"note": note})
    assert tensors.metadata_of(data) == {"note": note}
    for found in (tensors.read(data), safetensors.numpy.load(data)):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].tobytes() == array.tobytes()


def test_large_arrays_are_copied_in_pieces() -> None:
    array = np.random.default_rng(0).random((3, tensors.PIECE_BYTES // 8), np.float64)
    data = tensors.write({"a": array, "b": array[:, ::2]}, {})
    found = tensors.read(data)
    assert np.array_equal(found["a"], array)
    assert np.array_equal(found["b"], array[:, ::2])
    assert not found["a"].flags.owndata
    assert not found["a"].flags.writeable


@given(st.data())
def test_a_file_with_one_other_bit_is_refused_or_says_something_else(data: st.DataObject) -> None:
    arrays: tensors.Arrays = {"a": np.arange(5, dtype=np.float32), "b": np.arange(3, dtype=np.uint32), "c": np.zeros((0, 2), np.float64)}
    file = bytearray(tensors.write(arrays, {"k": "v"}))
    place, bit = data.draw(st.integers(0, len(file) - 1)), data.draw(st.integers(0, 7))
    file[place] ^= 1 << bit
    try:
        found, note = tensors.read(bytes(file)), tensors.metadata_of(bytes(file))
    except TensorsError:
        return
    same = found.keys() == arrays.keys() and all(
        (found[n].dtype, found[n].shape, found[n].tobytes()) == (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()
    )
    assert not same or note != {"k": "v"}


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
        b'{"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [0, 100000000000000000000], "data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": 5}',
        b"[" * 100_000,
        b"{}",
    ],
)
def test_what_does_not_fit_is_refused(header: bytes) -> None:
    with pytest.raises(TensorsError):
        tensors.read(len(header).to_bytes(8, "little") + header + bytes(4))
