"""What a running stack says about itself in its data folder: settings, processes, restarts."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.settings import Settings, SettingsError, read_settings
from stack.errors import ConfigurationErrors, NotRunning
from stack.flink_rest import FlinkRest, FlinkUnreachable
from stack.folders import DataFolder, default_data_dir
from stack.sampling import StackProbe
from stack.state import StackState, read_state


def running_state(data_dir: Path | None) -> StackState | None:
    """Return the state of the stack that runs on the data folder, the default one if None; None if none runs."""
    state = read_state(DataFolder(data_dir or default_data_dir()).state)
    return state if state and state.supervisor_runs() else None


def settings_of(data_dir: Path | None) -> Settings | None:
    """Return the settings of the stack that runs on the data folder, or None if none runs on the default folder.

    Raises:
        NotRunning: if a folder is named and no stack runs on it.
    """
    state = running_state(data_dir)
    if state is None and data_dir is not None:
        raise NotRunning(f"no stack runs on {data_dir}: start one with `millrace up --data-dir {data_dir}`")
    return read_settings(state.settings) if state else None


def joined_settings(data_dir: Path | None) -> Settings:
    """Return the settings of the stack that runs on the data folder, else those of the environment.

    Raises:
        NotRunning: if a folder is named and no stack runs on it.
        ConfigurationErrors: naming every variable that is wrong.
    """
    try:
        return settings_of(data_dir) or read_settings(os.environ)
    except SettingsError as error:
        raise ConfigurationErrors(str(error).splitlines()) from error


def probe_of(data_dir: Path | None) -> StackProbe | None:
    """Return how to sample the stack that runs on the data folder, or None if none does."""
    if running_state(data_dir) is None:
        return None
    return StackProbe(lambda: pids(running_state(data_dir)), lambda: restart_counters(running_state(data_dir)))


def pids(state: StackState | None) -> list[int]:
    """Return the process ids of the supervisor and the parts."""
    return [state.pid, *(part.pid for part in state.parts if part.pid is not None)] if state else []


def restart_counters(state: StackState | None) -> dict[str, int]:
    """Return a counter for each part (starts after the first) and for each job (restarts by Flink, and new submissions).

    Flink is asked itself, since the state may be a few seconds old.
    """
    if state is None:
        return {}
    counters = {f"part {part.name}": part.restarts for part in state.parts}
    rest = FlinkRest(state.addresses.flink_rest)
    for job in state.jobs:
        counters[f"submissions of {job.job}"] = job.resubmissions
        if job.id is not None:
            counters[f"job {job.id}"] = _restarts(rest, job.id, job.restarts)
    return counters


def _restarts(rest: FlinkRest, job_id: str, known: int) -> int:
    try:
        found = rest.restarts(job_id)
    except FlinkUnreachable:
        return known
    return known if found is None else max(found, known)
