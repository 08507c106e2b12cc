"""The compiled kernels: bytes that do not depend on the CPU, bounds that hold, and a cache that is never stale."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model import calibration, compiled
from online_model.prequential import log

pytestmark = pytest.mark.unit

TEACH = """
import hashlib
from online_model.softmax import HashedSoftmax
from online_model.snapshots import checksum
model = HashedSoftmax(1)
texts = [f"Text {i % 7} nummer{i * i % 31} สวัสดี{i % 4} 👍🏽 is {'good' if i % 3 else 'bad'}!" for i in range(400)]
for i, text in enumerate(texts):
    model.learn_one(text, f"c{i % 11}", 0.5 + i % 2)
    model.learn_one({"length": len(text) / 3, "last": text[-4:]}, f"c{i % 5}")
digest = hashlib.sha256()
for text in texts:
    digest.update(repr((model.predict_proba_one(text), model.predict_top(text, 3))).encode())
    digest.update(repr(model.predict_proba_one({"length": len(text)})).encode())
import numpy as np
print(checksum(b"", {"table": model._table, "squares": model._squares, "calibrator": model._calibrator}), digest.hexdigest())
"""

TAKE_APART = """
import warnings
from online_model import features, tokens
from tests.reference_features import longest_texts
warnings.simplefilter("ignore", RuntimeWarning)  # numpy's integers warn where numba's wrap around
assert not hasattr(tokens.tokenise, "py_func"), "compiled after all"
arrays = features.workspace().arrays
found, listed = tokens.Tokens(*arrays[:tokens.SECTIONS_USED]), features.Features(*arrays[tokens.SECTIONS_USED:])
for text in longest_texts():
    tokens.tokenise(found, text[:tokens.MAX_POINTS].encode())
    features.add_all(found, 20, listed)
    print(int(found.tally[tokens.N_TOKENS]), int(listed.tally[features.COUNT]))
"""


def started(program: str, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start a program with the environment and what is said besides."""
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.Popen([sys.executable, "-c", program], env=known, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


@given(st.floats(min_value=-599, max_value=0))
def test_exp_is_as_exact_as_the_library(x: float) -> None:
    assert calibration.exp(x) == pytest.approx(math.exp(x), rel=2e-15)


def test_exp_ends() -> None:
    assert calibration.exp(0.0) == 1.0
    assert calibration.exp(-1e-300) == 1.0
    for x in (-601.0, -1e308, -math.inf, math.nan):
        assert calibration.exp(x) == calibration.exp(-600.0) > 0.0


@given(st.floats(min_value=1e-9, max_value=1.0))
def test_log_is_as_exact_as_the_library(x: float) -> None:
    assert log(x) == pytest.approx(math.log(x), rel=2e-15, abs=1e-16)


@pytest.mark.timeout(300)  # two processes compile every kernel, side by side: 15 s of a core each
def test_the_bytes_do_not_depend_on_the_cpu(tmp_path: Path) -> None:
    host = started(TEACH, NUMBA_CACHE_DIR=str(tmp_path / "host"))
    generic = started(TEACH, NUMBA_CACHE_DIR=str(tmp_path / "generic"), NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert said(host) == said(generic)


def test_the_longest_texts_stay_within_the_bounds() -> None:
    """Interpreted, on arrays of numpy, which know their bounds: the compiled kernels use plain pointers."""
    counts = said(started(TAKE_APART, NUMBA_DISABLE_JIT="1")).split()
    assert max(map(int, counts)) > 20_000


def test_the_cache_is_stale_when_another_module_has_changed(tmp_path: Path) -> None:
    """numba itself looks at the module of a kernel only, not at those whose kernels it calls."""
    package = tmp_path / "online_model"
    package.mkdir()
    shutil.copy(str(compiled.__file__), package)
    (package / "__init__.py").touch()
    head = "from online_model.compiled import compiled\n"
    (package / "outer.py").write_text(
        head + "from online_model import inner\n@compiled\ndef outer(x: int) -> int:\n    return inner.inner(x) + 1\n"
    )

    def result(program: str) -> str:
        (package / "inner.py").write_text(head + program)
        call = "from online_model.outer import outer; print(outer(20), sum(outer.stats.cache_hits.values()))"
        return said(started(call, cwd=tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache")))

    double, triple = (f"@compiled\ndef inner(x: int) -> int:\n    return {n} * x\n" for n in (2, 3))
    assert result(double).split() == ["41", "0"]
    assert result(double).split() == ["41", "1"]  # from the cache
    assert result(triple).split() == ["61", "0"]
