"""Programs that are started by ours and must not outlive them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

_LAUNCHER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, int(sys.argv[1]));"  # 1: PR_SET_PDEATHSIG
    " os.getppid() == int(sys.argv[2]) or os._exit(1); os.execvp(sys.argv[3], sys.argv[3:])"
)


def dying_with_parent(command: Sequence[str], deadly: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return the command so that the kernel sends it `deadly` when the thread that starts it ends (prctl(2), on Linux).

    A launcher arranges it and becomes the command. Done between fork and exec instead (`preexec_fn`), it hung for ever now and then
    where other threads ran: one of them may hold a lock at the fork, and nobody in the child ever releases it.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(int(deadly)), str(os.getpid()), *command]
