"""The faults of the campaign: what is done, what must come again, and what the stack needs for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.topics import Topic
from stack.embedded import Stack
from tests.faults.injections import (
    AWAY_S,
    FULL_S,
    SHORT_TIMEOUT_S,
    away,
    change_parallelism,
    crash_the_interpreter,
    cut,
    damage_checkpoint,
    damage_checkpoint_and_kill_again,
    damage_shared_file,
    damage_snapshot,
    disk_full,
    fail_operators,
    flip,
    flush_redis,
    kill,
    kill_before_the_announcement,
    kill_before_the_commit,
    kill_everything,
    kill_in_a_checkpoint,
    kill_repeatedly,
    pause,
    redis_comes_back_empty,
    redis_read_only,
    stop_and_submit_learn,
)
from tests.faults.watch import API, REDIS


@dataclass(frozen=True)
class Fault:
    """A fault, what it interrupts, and what the stack needs for it.

    Attributes:
        name: how it is called in the table.
        inject: does the harm; returns the moment (monotonic seconds) at which it was over, from which recovery is counted.
        output: what must come again: a topic, or Redis.
        settings: overrides of the settings; a stack with others is started for it.
        small_disk: folder of the data folder that is to lie on a small file system of its own.
        steady: outputs that must go on at the full rate all the while.
    """

    name: str
    inject: Callable[[Stack], float]
    output: str = Topic.PREDICTIONS
    settings: dict[str, object] = field(default_factory=dict)
    small_disk: str | None = None
    steady: tuple[str, ...] = ()


FAULTS = (
    Fault("TaskManager killed", kill("taskmanager")),
    Fault("TaskManager killed during a checkpoint", kill_in_a_checkpoint),
    Fault("TaskManager killed between checkpoint and commit of classify", kill_before_the_commit("classify")),
    Fault("TaskManager killed between checkpoint and commit of learn", kill_before_the_commit("learn"), output=Topic.MODEL_LOG),
    Fault("TaskManager killed between a snapshot and its announcement", kill_before_the_announcement, output=Topic.MODEL_LOG),
    Fault("the Python interpreter crashes (SIGSEGV)", crash_the_interpreter),
    Fault("JobManager killed", kill("jobmanager")),
    Fault("an operator of each job raises an error", fail_operators),
    Fault("broker killed", kill("kafka")),
    Fault("Redis killed", kill("redis"), output=REDIS),
    Fault("API killed", kill("api"), output=API, steady=(Topic.PREDICTIONS,)),
    Fault("everything killed at once", kill_everything),
    Fault("TaskManager stands still for 30 s", pause("taskmanager")),
    Fault("JobManager stands still for 30 s", pause("jobmanager")),
    Fault("broker stands still for 30 s", pause("kafka")),
    Fault("Redis stands still for 30 s", pause("redis"), output=REDIS, steady=(Topic.PREDICTIONS,)),
    Fault("a random part killed every 4 s, six times", kill_repeatedly),
    Fault("Redis emptied while it runs", flush_redis, output=REDIS),
    Fault("Redis comes back empty", redis_comes_back_empty, output=REDIS),
    Fault("Redis read-only for 15 s", redis_read_only, output=REDIS, steady=(Topic.PREDICTIONS,)),
    Fault("Redis away for 2 min", away("redis", 120), output=REDIS, steady=(Topic.PREDICTIONS,)),
    Fault("learn stopped for 20 s and started again", stop_and_submit_learn, output=Topic.MODEL_LOG, steady=(Topic.PREDICTIONS,)),
    Fault("everything stopped, parallelism 1 to 2 to 1", change_parallelism),
    Fault("newest checkpoint of classify cut off", damage_checkpoint("classify", cut)),
    Fault("newest checkpoint of classify with a flipped bit", damage_checkpoint("classify", flip)),
    Fault("newest checkpoint of learn cut off", damage_checkpoint("learn", cut), output=Topic.MODEL_LOG),
    Fault("newest checkpoint of learn with a flipped bit", damage_checkpoint("learn", flip), output=Topic.MODEL_LOG),
    Fault("the same of classify, JobManager killed again at once", damage_checkpoint_and_kill_again("classify")),
    Fault("the same of learn, JobManager killed again at once", damage_checkpoint_and_kill_again("learn"), output=Topic.MODEL_LOG),
    Fault("newest snapshots cut off, TaskManager killed", damage_snapshot(cut)),
    Fault("newest snapshots with a flipped bit, TaskManager killed", damage_snapshot(flip)),
    Fault("a file that learn's checkpoints share cut off", damage_shared_file, output=Topic.MODEL_LOG),
    Fault(
        f"broker away for {AWAY_S:.0f} s, transactions time out after {SHORT_TIMEOUT_S} s",
        away("kafka", AWAY_S),
        settings={"transaction_timeout_s": SHORT_TIMEOUT_S},
    ),
    Fault(f"disk of the checkpoints full for {FULL_S:.0f} s", disk_full("checkpoints"), small_disk="checkpoints"),
    Fault(f"disk of the broker's log full for {FULL_S:.0f} s", disk_full("kafka"), small_disk="kafka"),
)
