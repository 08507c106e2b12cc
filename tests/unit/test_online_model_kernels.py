import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model import kernels
from online_model.prequential import log

pytestmark = pytest.mark.unit

TEACH = """
from online_model.softmax import HashedSoftmax
from online_model.snapshots import checksum
model = HashedSoftmax(1)
for i in range(300):
    model.learn_one(f"text {i % 7} nummer {i * i % 31} is {'good' if i % 3 else 'bad'}!", f"c{i % 11}", 0.5 + i % 2)
print(checksum(b"", model.arrays()), model.predict_proba_one("text 5 is good").values())
"""


@given(st.floats(min_value=-699, max_value=0))
def test_exp_is_as_exact_as_the_library(x: float) -> None:
    assert kernels.exp(x) == pytest.approx(math.exp(x), rel=2e-15)


def test_exp_ends() -> None:
    assert kernels.exp(0.0) == 1.0
    assert kernels.exp(-1e-300) == 1.0
    assert kernels.exp(-701.0) == 0.0


@given(st.floats(min_value=1e-9, max_value=1.0))
def test_log_is_as_exact_as_the_library(x: float) -> None:
    assert log(x) == pytest.approx(math.log(x), rel=2e-15, abs=1e-16)


def test_the_bytes_do_not_depend_on_the_cpu(tmp_path: Path) -> None:
    def taught(cpu: dict[str, str], cache: str) -> str:
        environment = {**os.environ, **cpu, "NUMBA_CACHE_DIR": str(tmp_path / cache), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", TEACH], env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    assert taught({}, "host") == taught({"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, "generic")
