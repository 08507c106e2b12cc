"""The rule by which a job resumes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.topics import Topic
from stack.errors import StateMissing
from stack.jobs import OUTPUTS, SAVEPOINTS_KEPT, History, Submission, newest_checkpoint, newest_state, remove_old_states, resume_from

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
    assert newest_state([submitted(FIRST, savepoint=savepoint)], tmp_path) == savepoint.as_uri()


def test_a_crash_resumes_from_the_last_submissions_checkpoint_not_from_an_older_savepoint(tmp_path: Path) -> None:
    savepoint = complete(tmp_path / "savepoint-1")
    newest = complete(tmp_path / SECOND / "chk-3")
    history = [submitted(FIRST, savepoint=savepoint), submitted(SECOND, started_from=savepoint)]
    assert newest_state(history, tmp_path) == str(newest)


def test_submissions_without_a_checkpoint_are_walked_back_across_job_ids(tmp_path: Path) -> None:
    newest = complete(tmp_path / FIRST / "chk-40")
    history = [submitted(FIRST), submitted(SECOND, started_from=newest), submitted(THIRD, started_from=newest)]
    assert newest_state(history, tmp_path) == str(newest)


def test_what_it_was_started_from_counts_if_the_history_begins_there(tmp_path: Path) -> None:
    given = complete(tmp_path / "elsewhere" / "chk-1")
    assert newest_state([submitted(SECOND, started_from=given)], tmp_path) == str(given)


def test_a_lost_savepoint_is_not_replaced_by_an_older_checkpoint(tmp_path: Path) -> None:
    complete(tmp_path / FIRST / "chk-7")
    with pytest.raises(StateMissing, match="is gone"):
        newest_state([submitted(FIRST, savepoint=tmp_path / "savepoint-1")], tmp_path)


def test_a_submission_that_was_never_recorded_counts_by_its_folder(tmp_path: Path) -> None:
    complete(tmp_path / FIRST / "chk-7")
    newest = complete(tmp_path / SECOND / "chk-2")
    os.utime(tmp_path / SECOND, (200, 200))
    assert newest_state([submitted(FIRST, time=100)], tmp_path) == str(newest)


def test_an_older_unknown_folder_does_not_count(tmp_path: Path) -> None:
    newest = complete(tmp_path / SECOND / "chk-2")
    complete(tmp_path / FIRST / "chk-7")
    os.utime(tmp_path / FIRST, (50, 50))
    assert newest_state([submitted(SECOND, time=100)], tmp_path) == str(newest)


@pytest.mark.parametrize("job", OUTPUTS)
def test_no_state_but_output_is_refused_with_a_way_out(job: str, tmp_path: Path) -> None:
    with pytest.raises(StateMissing, match=f"{OUTPUTS[job][-1]}.*--empty"):
        resume_from(job, [], tmp_path, has_output=lambda topic: topic is OUTPUTS[job][-1])


def test_no_state_and_no_output_starts_empty(tmp_path: Path) -> None:
    asked: list[Topic] = []

    def empty(topic: Topic) -> bool:
        asked.append(topic)
        return False

    assert resume_from("learn", [], tmp_path, has_output=empty) is None
    assert asked == [Topic.MODEL_LOG, Topic.LABEL_STATES]


def test_with_a_state_kafka_is_not_asked(tmp_path: Path) -> None:
    newest = complete(tmp_path / FIRST / "chk-1")

    def never(topic: Topic) -> bool:
        raise AssertionError(topic)

    assert resume_from("learn", [submitted(FIRST)], tmp_path, has_output=never) == str(newest)


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
    assert newest_state(history, checkpoints) == str(checkpoints / SECOND / "chk-1")


def test_the_history_is_kept_in_its_file(tmp_path: Path) -> None:
    history = History(tmp_path / "jobs.json")
    history.add(submitted(FIRST, time=1.0))
    history.add(Submission(job="classify", id=SECOND, started_from="x", time=2.0))
    history.ended(FIRST, "file:/s")
    again = History(tmp_path / "jobs.json")
    assert [(s.id, s.savepoint) for s in again.of("learn")] == [(FIRST, "file:/s")]
    assert [(s.id, s.started_from) for s in again.of("classify")] == [(SECOND, "x")]
