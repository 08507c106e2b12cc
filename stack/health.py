"""`python -m stack.health [DATA_DIR]`: exit code 0 if the stack on the data folder is healthy, else 1, and why. Light: asked often."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.folders import DataFolder, default_data_dir
from stack.state import read_state


def main(arguments: list[str]) -> int:
    """Say how it is, and return the exit code."""
    folder = DataFolder(Path(arguments[0]) if arguments else default_data_dir())
    state = read_state(folder.state)
    if state is None or not state.supervisor_runs():
        print(f"no supervisor runs on {folder.root}")
        return 1
    if state.healthy():
        return 0
    print("\n".join(state.troubles() or [f"it is {state.phase}"]))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
