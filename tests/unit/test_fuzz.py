"""A short run of `python -m benchmarks fuzz`; the long one is for whoever changes the kernels or the snapshots."""

from __future__ import annotations

import pytest

from benchmarks import fuzz
from online_model.blocks import Block

pytestmark = pytest.mark.unit


def test_texts_of_any_bytes_crash_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    fuzz.run_texts(8_000, seed=2)
    assert "8,000 texts" in capsys.readouterr().out


def test_damaged_and_lying_snapshots_are_refused_or_can_be_used() -> None:
    became = fuzz.run_snapshots(600, seed=2)
    assert became["refused"] > 300
    assert became["loaded"] > 10


def test_a_kernel_that_writes_beyond_its_section_is_found() -> None:
    block = Block([(4, "int32"), (1, "int64")])
    block.arrays[0][:] = -1
    assert not fuzz.overrun(block)
    first = block.arrays[0].ctypes.data - block.arrays[0].base.ctypes.data  # type: ignore[union-attr]  # the bytes of all sections
    block.arrays[0].base[first + 16] = 1  # type: ignore[index]  # the same
    assert fuzz.overrun(block)
