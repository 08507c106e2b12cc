"""What the operators ask of the interpreter that they share."""

from __future__ import annotations

import gc
import logging
import sys

_ALLOCATIONS = 50_000
_SWITCH_S = 0.0005


def prepare_interpreter() -> None:
    """Set up the interpreter of a TaskManager; each operator calls it first, when it is opened.

    The cyclic collector looks at new objects rarely, and never again at what the first operator finds, which is mostly modules: records
    hold no cycles, reference counts free them. With the default threshold of 700 it ran for each small batch, and took a tenth of the
    time of publish. What a failed operator left behind is collected here, with its tables.

    A thread that wants the interpreter asks for it after half a millisecond, not five: a label does not wait for a frame of predictions.

    PyFlink sets the root logger to its lowest level, and kafka-python debugs every poll: a third of the time to read a log.
    """
    gc.collect()
    if gc.get_freeze_count() == 0:
        gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    sys.setswitchinterval(_SWITCH_S)
    logging.getLogger("kafka").setLevel(logging.WARNING)
