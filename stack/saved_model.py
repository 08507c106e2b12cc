"""A saved model: the file of a snapshot or a release, without a server and without torch."""

from __future__ import annotations

from pathlib import Path

from online_model.replica import Replica, SnapshotError
from stack.errors import StackError


def load_model(path: Path, *, allow_pickle: bool) -> Replica:
    """Return the replica in a file.

    Args:
        path: a snapshot or a release, `*.safetensors` in the artifact folder, or what `millrace refresh --model-out` wrote.
        allow_pickle: whether a model that is stored as a pickle may be loaded; a pickle can run any code.

    Raises:
        StackError: if the file cannot be read, or holds no intact model.
    """
    try:
        return Replica.from_snapshot(path.read_bytes(), allow_pickle=allow_pickle)
    except OSError as error:
        raise StackError(f"{path}: cannot be read: {error.strerror}") from error
    except SnapshotError as error:
        raise StackError(f"{path}: no model that can be used: {error}") from error
