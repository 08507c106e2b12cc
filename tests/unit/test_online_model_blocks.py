import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.blocks import Block

pytestmark = pytest.mark.unit


@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.sampled_from([np.int32, np.float32, np.int64, np.float64, np.uint64])), min_size=1, max_size=9
    )
)
def test_sections_lie_apart_on_cache_lines_and_the_directory_finds_them(sections: list[tuple[int, type]]) -> None:
    block = Block(sections)
    end = 0
    for number, ((count, dtype), array) in enumerate(zip(sections, block.arrays, strict=True)):
        assert array.size == count
        assert array.dtype == np.dtype(dtype)
        assert not array.any()
        address = array.ctypes.data
        assert address % 64 == 0
        assert address > end
        end = address + array.nbytes
        assert block.directory[2 * number : 2 * number + 2].tolist() == [address, count]
        array[:] = 1
    assert all(array.all() for array in block.arrays)
    assert block.size >= sum(array.nbytes for array in block.arrays)
