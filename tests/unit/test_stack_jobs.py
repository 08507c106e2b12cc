"""The rule by which a job resumes."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from schemas.topics import Topic
from stack.errors import StateMissing
from stack.jobs import OUTPUTS, SAVEPOINTS_KEPT, History, Submission, newest_checkpoint, remove_old_states
from stack.resume import REWIND_MARGIN_MS, Start, chosen_start, newest_state, resume_from, state_time
from stack.state_sums import forget_removed, note, problem, refuse

pytestmark = pytest.mark.unit

FIRST, SECOND, THIRD = "a" * 32, "b" * 32, "c" * 32


def complete(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "_metadata").write_bytes(b"state")
    return path


def submitted(flink_id: str, *, time: float = 0.0, started_from: Path | None = None, savepoint: Path | None = None) -> Submission:
    return Submission(
        job="learn",
        id=flink_id,
        started_from=str(started_from) if started_from else None,
        time=time,
        savepoint=savepoint.as_uri() if savepoint else None,
    )


def test_nothing_submitted_means_nothing_to_resume(tmp_path: Path) -> None:
    assert newest_state([], tmp_path) is None


def test_checkpoints_are_ordered_by_number_and_incomplete_ones_do_not_count(tmp_path: Path) -> None:
    complete(tmp_path / "chk-9")
    newest = complete(tmp_path / "chk-10")
    (tmp_path / "chk-11").mkdir()
    (tmp_path / "chk-12").mkdir()
    (tmp_path / "chk-12" / "_metadata").touch()
    complete(tmp_path / "shared")
    assert newest_checkpoint(tmp_path) == newest


def test_the_savepoint_that_ended_the_last_submission_wins_over_its_checkpoints(tmp_path: Path) -> None:
    complete(tmp_path / FIRST / "chk-7")
    savepoint = complete(tmp_path / "savepoint-1")
    assert newest_state([submitted(FIRST, savepoint=savepoint)], tmp_path) == Start(savepoint.as_uri())


def test_a_crash_resumes_from_the_last_submissions_checkpoint_not_from_an_older_savepoint(tmp_path: Path) -> None:
    savepoint = complete(tmp_path / "savepoint-1")
    newest = complete(tmp_path / SECOND / "chk-3")
    history = [submitted(FIRST, savepoint=savepoint), submitted(SECOND, started_from=savepoint)]
    assert newest_state(history, tmp_path) == Start(str(newest))


def test_submissions_without_a_checkpoint_are_walked_back_across_job_ids(tmp_path: Path) -> None:
    newest = complete(tmp_path / FIRST / "chk-40")
    history = [submitted(FIRST), submitted(SECOND, started_from=newest), submitted(THIRD, started_from=newest)]
    assert newest_state(history, tmp_path) == Start(str(newest))


def test_what_it_was_started_from_counts_if_the_history_begins_there(tmp_path: Path) -> None:
    given = complete(tmp_path / "elsewhere" / "chk-1")
    assert newest_state([submitted(SECOND, started_from=given)], tmp_path) == Start(str(given))


def test_from_a_state_older_than_a_lost_one_nothing_is_written_again(tmp_path: Path) -> None:
    older = complete(tmp_path / FIRST / "chk-7")
    os.utime(older / "_metadata", (1000, 1000))
    start = newest_state([submitted(FIRST, savepoint=tmp_path / "savepoint-1")], tmp_path)
    assert start is not None
    assert (start.path, start.rewound_since) == (str(older), 1_000_000 - REWIND_MARGIN_MS)
    assert start.refused == [f"{tmp_path / 'savepoint-1'}: it is gone, or cut off"]


def flip(state: Path) -> None:
    """Change one bit, as a failing disk may; the length stays."""
    data = bytearray((state / "_metadata").read_bytes())
    data[0] ^= 1
    (state / "_metadata").write_bytes(data)


def cut(state: Path) -> None:
    os.truncate(state / "_metadata", 2)


def empty(state: Path) -> None:
    os.truncate(state / "_metadata", 0)


def remove(state: Path) -> None:
    shutil.rmtree(state)


@pytest.mark.parametrize("damage", [flip, cut, empty, remove])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(damage: Callable[[Path], None], tmp_path: Path) -> None:
    older, newer = complete(tmp_path / FIRST / "chk-7"), complete(tmp_path / FIRST / "chk-8")
    for state in (older, newer):
        note(state)
    assert newest_state([submitted(FIRST)], tmp_path) == Start(str(newer))
    damage(newer)
    start = newest_state([submitted(FIRST)], tmp_path)
    assert start is not None
    assert start.path == str(older)
    assert start.rewound_since is not None
    assert str(newer) in start.refused[0]


def test_what_starts_from_a_rewound_submission_inherits_its_rewind_for_a_day(tmp_path: Path) -> None:
    """The job may be lost before it has a state of its own, or before it has passed over all that was committed."""
    older, newer = complete(tmp_path / FIRST / "chk-7"), complete(tmp_path / FIRST / "chk-8")
    note(newer)
    flip(newer)
    first = newest_state([submitted(FIRST)], tmp_path)
    assert first is not None
    assert first.rewound_since is not None
    until = int(time.time() * 1000)
    again = msgspec.structs.replace(submitted(SECOND, started_from=older), rewind=(first.rewound_since, until))
    assert newest_state([submitted(FIRST), again], tmp_path) == Start(str(older), first.rewound_since)
    own = complete(tmp_path / SECOND / "chk-1")
    assert newest_state([submitted(FIRST), again], tmp_path) == Start(str(own), first.rewound_since)
    os.utime(own / "_metadata", (until / 1000 + 90_000,) * 2)
    assert newest_state([submitted(FIRST), again], tmp_path) == Start(str(own))


def test_a_copied_state_is_as_old_as_it_was_noted(tmp_path: Path) -> None:
    state = complete(tmp_path / "chk-1")
    os.utime(state / "_metadata", (1000, 1000))
    note(state)
    os.utime(state / "_metadata", (9000, 9000))
    assert state_time(state) == 1_000_000 - REWIND_MARGIN_MS


@pytest.mark.parametrize("content", ["", "# 5 epoch ms", "\x00\x00", "ü"])
def test_a_checksum_that_was_cut_off_makes_no_state_broken(content: str, tmp_path: Path) -> None:
    state = complete(tmp_path / FIRST / "chk-7")
    (tmp_path / FIRST / "chk-7.sha256").write_text(content, encoding="utf-8")
    assert newest_state([submitted(FIRST)], tmp_path) == Start(str(state))


def test_a_full_disk_leaves_no_checksum_rather_than_half_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = complete(tmp_path / FIRST / "chk-7")

    def full(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        note(state)
        refuse(state, "for a test")
    assert not [path for path in state.parent.iterdir() if path.suffix in (".sha256", ".partial")]


def test_a_checkpoint_that_could_not_be_restored_is_not_tried_again(tmp_path: Path) -> None:
    older, newer = complete(tmp_path / FIRST / "chk-7"), complete(tmp_path / FIRST / "chk-8")
    refuse(newer, "Sst file size mismatch")
    start = newest_state([submitted(FIRST)], tmp_path)
    assert start is not None
    assert start.path == str(older)
    assert "Sst file size mismatch" in start.refused[0]


def test_a_chosen_state_may_be_old_but_not_damaged(tmp_path: Path) -> None:
    state = complete(tmp_path / "chk-1")
    note(state)
    os.utime(state / "_metadata", (1000, 1000))
    assert chosen_start(str(state)) == Start(str(state), 1_000_000 - REWIND_MARGIN_MS)
    assert chosen_start(None) == Start(None, 0)
    flip(state)
    with pytest.raises(StateMissing, match="SHA-256 differs"):
        chosen_start(str(state))


def test_if_all_states_are_damaged_none_is_used(tmp_path: Path) -> None:
    only = complete(tmp_path / FIRST / "chk-7")
    note(only)
    flip(only)
    history = [submitted(FIRST)]
    assert newest_state(history, tmp_path) == Start(None, 0, [f"{only}: {problem(only)}"])
    with pytest.raises(StateMissing, match="SHA-256 differs"):
        resume_from("classify", history, tmp_path, has_output=lambda _: True, is_whole=lambda _: True)


@pytest.mark.parametrize(("whole", "start"), [(True, Start(None, 0, [])), (False, None)])
def test_learn_is_rebuilt_from_topics_that_are_whole_and_refused_otherwise(whole: bool, start: Start | None, tmp_path: Path) -> None:
    def resume() -> Start:
        return resume_from("learn", [], tmp_path, has_output=lambda _: True, is_whole=lambda _: whole)

    if start is not None:
        assert resume() == start
    else:
        with pytest.raises(StateMissing, match="--empty"):
            resume()


def test_sums_of_checkpoints_that_flink_has_removed_are_forgotten_but_the_newest_tells_of_a_loss(tmp_path: Path) -> None:
    states = [complete(tmp_path / f"chk-{number}") for number in (1, 2, 3)]
    for age, state in enumerate(reversed(states)):
        note(state)
        os.utime(state.with_name(f"{state.name}.sha256"), (1000 - age, 1000 - age))
        shutil.rmtree(state)
    forget_removed(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["chk-3.sha256"]


def test_a_submission_that_was_never_recorded_counts_by_its_folder(tmp_path: Path) -> None:
    complete(tmp_path / FIRST / "chk-7")
    newest = complete(tmp_path / SECOND / "chk-2")
    os.utime(tmp_path / SECOND, (200, 200))
    assert newest_state([submitted(FIRST, time=100)], tmp_path) == Start(str(newest))


def test_an_older_unknown_folder_does_not_count(tmp_path: Path) -> None:
    newest = complete(tmp_path / SECOND / "chk-2")
    complete(tmp_path / FIRST / "chk-7")
    os.utime(tmp_path / FIRST, (50, 50))
    assert newest_state([submitted(SECOND, time=100)], tmp_path) == Start(str(newest))


@pytest.mark.parametrize("job", OUTPUTS)
def test_no_state_but_output_is_refused_with_a_way_out(job: str, tmp_path: Path) -> None:
    with pytest.raises(StateMissing, match=f"{OUTPUTS[job][-1]}.*--empty"):
        resume_from(job, [], tmp_path, has_output=lambda topic: topic is OUTPUTS[job][-1], is_whole=lambda _: False)


def test_no_state_and_no_output_starts_empty(tmp_path: Path) -> None:
    asked: list[Topic] = []

    def nothing(topic: Topic) -> bool:
        asked.append(topic)
        return False

    assert resume_from("learn", [], tmp_path, has_output=nothing, is_whole=lambda _: True) == Start(None)
    assert asked == [Topic.MODEL_LOG, Topic.LABEL_STATES]


def test_with_a_state_kafka_is_not_asked(tmp_path: Path) -> None:
    newest = complete(tmp_path / FIRST / "chk-1")

    def never(topic: Topic) -> bool:
        raise AssertionError(topic)

    assert resume_from("learn", [submitted(FIRST)], tmp_path, has_output=never, is_whole=never) == Start(str(newest))


def test_old_states_stay_until_the_new_submission_has_one(tmp_path: Path) -> None:
    checkpoints, savepoints = tmp_path / "checkpoints", tmp_path / "savepoints"
    old = complete(checkpoints / FIRST / "chk-5").parent
    kept = [complete(savepoints / f"savepoint-{n}") for n in range(SAVEPOINTS_KEPT + 1)]
    for n, path in enumerate(kept):
        os.utime(path, (n, n))
    history = [submitted(FIRST), submitted(SECOND, started_from=old / "chk-5")]
    assert remove_old_states(history, checkpoints, savepoints) == []
    complete(checkpoints / SECOND / "chk-1")
    assert remove_old_states(history, checkpoints, savepoints) == [old, kept[0]]
    assert not old.exists()
    assert [path.exists() for path in kept] == [False, *[True] * SAVEPOINTS_KEPT]
    assert newest_state(history, checkpoints) == Start(str(checkpoints / SECOND / "chk-1"))


def test_the_history_is_kept_in_its_file(tmp_path: Path) -> None:
    history = History(tmp_path / "jobs.json")
    history.add(submitted(FIRST, time=1.0))
    history.add(Submission(job="classify", id=SECOND, started_from="x", time=2.0))
    history.ended(FIRST, "file:/s")
    again = History(tmp_path / "jobs.json")
    assert [(s.id, s.savepoint) for s in again.of("learn")] == [(FIRST, "file:/s")]
    assert [(s.id, s.started_from) for s in again.of("classify")] == [(SECOND, "x")]
