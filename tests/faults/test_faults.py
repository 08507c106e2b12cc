"""The campaign: `make test-faults` runs every fault, CI a short selection. What it found is in docs/reliability.md."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from stack.embedded import Stack
from tests.faults.campaign import FAULTS, Fault
from tests.faults.checks import processes_of
from tests.faults.injections import mount_small_disk, unmount
from tests.faults.run import Result, run_fault, table

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SHORT = (
    "TaskManager killed between checkpoint and commit of classify",
    "Redis comes back empty",
    "newest checkpoint of classify with a flipped bit",
)
OVERRIDES = {"snapshot_interval_s": 3}
PORTS = dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0)
DISK_MIB = 700


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take the faults that were asked for, as often as was asked; those that share a stack come together."""
    chosen = metafunc.config.getoption("--faults")
    picked = (
        [f for f in FAULTS if f.name in SHORT] if chosen == "short" else [f for f in FAULTS if chosen == "all" or re.search(chosen, f.name)]
    )
    plain = [fault for fault in picked if not (fault.settings or fault.small_disk)]
    runs = range(int(metafunc.config.getoption("--fault-runs")))
    order = [(fault, run) for run in runs for fault in plain] + [(fault, run) for fault in picked if fault not in plain for run in runs]
    metafunc.parametrize(("fault", "run"), order, ids=[f"{fault.name}-{run}" for fault, run in order])


class Bench:
    """The stack that the faults are done to: one for all that can share it, else one of the fault's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared: Stack | None = None
        self._count = 0

    def shared(self) -> Stack:
        if self._shared is None or self._shared.running() is None:
            self._shared = self.start({})
        return self._shared

    def start(self, settings: dict[str, object], small_disk: str | None = None) -> Stack:
        self._count += 1
        root = self._folder / f"stack-{self._count}"
        drill = self._folder / "drill"
        drill.mkdir(exist_ok=True)
        if small_disk:
            mount_small_disk(root / small_disk, size_mib=DISK_MIB)
        stack = Stack(root, {**OVERRIDES, "drill_folder": str(drill), **settings}, ports=PORTS)
        stack.start(print)
        return stack

    def end(self, stack: Stack, small_disk: str | None = None) -> list[str]:
        """Stop a stack; return the processes that it has left."""
        stack.stop(savepoint=False)
        left = processes_of(stack.folder.root, without={os.getpid()})
        if small_disk:
            unmount(stack.folder.root / small_disk)
        shutil.rmtree(stack.folder.root, ignore_errors=True)
        return left

    def close(self) -> list[str]:
        return self.end(self._shared) if self._shared is not None else []


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("faults"))
    yield bench
    assert bench.close() == [], "processes were left behind"


def test_fault_violates_nothing(bench: Bench, fault: Fault, run: int, request: pytest.FixtureRequest) -> None:
    if fault.small_disk and os.geteuid() != 0:
        pytest.fail("a full disk is a file system of its own, and mounting one takes root: run `make test-faults` as root")
    own = bool(fault.settings or fault.small_disk)
    stack = bench.start(fault.settings, fault.small_disk) if own else bench.shared()
    try:
        result = run_fault(stack, fault, seed=run)
    finally:
        _keep_logs(stack, request.config.getoption("--fault-results"))
        left = bench.end(stack, fault.small_disk) if own else []
    result = msgspec.structs.replace(result, violations=result.violations + [f"F: left behind: {line}" for line in left])
    _record(result, request.config.getoption("--fault-results"))
    assert result.violations == []


def _keep_logs(stack: Stack, file: str | None) -> None:
    """Keep the logs of the last run beside the results, where they are kept."""
    if file:
        shutil.copytree(stack.folder.logs, Path(file).with_suffix(".logs"), dirs_exist_ok=True)


def _record(result: Result, file: str | None) -> None:
    """Say what came of it; with a file, add it there, and beside it write the table of all that is in it."""
    said = f"recovered in {result.recovery_s} s, {result.events} events, {result.labels} labels: {result.violations or 'exact'}"
    sys.stderr.write(f"\n{result.fault}: {said}\n")
    if file:
        path = Path(file)
        with path.open("ab") as opened:
            opened.write(msgspec.json.encode(result) + b"\n")
        results = [msgspec.json.decode(line, type=Result) for line in path.read_bytes().splitlines()]
        path.with_suffix(".md").write_text(table(results), encoding="utf-8")
