"""What a job's failed commits are taken to mean."""

from __future__ import annotations

import pytest

from stack.answers import Found
from stack.failures import AGAIN_S, CHECK_MARGIN_MS, REPORTED_AGAIN_S, Failures
from store.rewind import Place

pytestmark = pytest.mark.unit


class Checks:
    """Stands for the processes that look: each ends at once with the next answer."""

    def __init__(self, *answers: list[Place] | None) -> None:
        self.answers = list(answers)
        self.since: list[int] = []

    def __call__(self, since: int) -> Checks:
        self.since.append(since)
        return self

    @property
    def running(self) -> bool:
        return False

    def found(self) -> Found | None:
        answer = self.answers.pop(0)
        return None if answer is None else Found("classify", 9, answer)

    def stop(self) -> None:
        raise AssertionError("nothing runs")


def after_a_failed_commit(checks: Checks, seconds: float = 3 * AGAIN_S) -> Failures:
    failures = Failures(checks)  # type: ignore[arg-type]  # it has what is asked of a check
    failures.running(1000.0)
    failures.commits(1, 0)
    assert failures.checking
    for tick in range(int(seconds)):
        failures.tick(1000.0 + tick)
    return failures


def test_a_repeated_commit_costs_nothing() -> None:
    checks = Checks([])
    failures = after_a_failed_commit(checks)
    assert (failures.unanswered, failures.checking) == (0, False)
    assert checks.since == [1_000_000 - CHECK_MARGIN_MS]


def test_what_comes_late_is_not_missing() -> None:
    failures = after_a_failed_commit(Checks([(0, 1), (0, 2)], []))
    assert (failures.unanswered, failures.checking) == (0, False)


def test_what_is_missing_twice_is_reported_until_it_is_there() -> None:
    checks = Checks([(0, 1), (0, 2)], [(0, 2), (0, 9)], [(0, 2)])
    failures = after_a_failed_commit(checks, 2.5 * AGAIN_S)
    assert (failures.unanswered, failures.checking) == (1, False)
    checks.answers = [[], []]
    for tick in range(100, 100 + int(REPORTED_AGAIN_S)):
        failures.tick(1000.0 + tick)
    assert (failures.unanswered, failures.checking) == (0, False)


def test_what_is_reported_stays_reported_from_the_same_time_on_though_the_job_runs() -> None:
    checks = Checks([(0, 2)], [(0, 2)], [(0, 2)])
    failures = after_a_failed_commit(checks, 2.5 * AGAIN_S)
    for tick in range(100, 100 + int(REPORTED_AGAIN_S)):
        failures.running(1000.0 + tick)
        failures.tick(1000.0 + tick)
    assert failures.unanswered == 1
    assert len(checks.since) == 3
    assert set(checks.since) == {1_000_000 - CHECK_MARGIN_MS}


def test_a_commit_that_fails_while_it_is_checked_is_checked_too() -> None:
    checks = Checks([], [])
    failures = Failures(checks)  # type: ignore[arg-type]  # it has what is asked of a check
    failures.commits(1, 0)
    failures.tick(1000.0)
    failures.commits(1, 1)
    for tick in range(int(3 * AGAIN_S)):
        failures.tick(1001.0 + tick)
    assert (len(checks.since), failures.checking) == (2, False)


def test_a_new_supervisor_looks_since_the_state_that_the_job_starts_from() -> None:
    checks = Checks([])
    failures = Failures(checks)  # type: ignore[arg-type]  # it has what is asked of a check
    failures.new_submission(777)
    failures.commits(1, 0)
    failures.tick(1000.0)
    assert checks.since == [777]


def test_a_check_that_could_not_find_out_is_asked_again() -> None:
    checks = Checks(None, [])
    assert not after_a_failed_commit(checks).checking
    assert checks.answers == []


def test_the_same_counter_again_is_no_new_failure_and_a_job_that_repeats_itself_is_not_checked() -> None:
    checks = Checks([])
    failures = after_a_failed_commit(checks)
    failures.commits(1, 0)
    failures.commits(0, 0)  # Flink gives no value now and then.
    failures.commits(1, 0)
    seen = [failures.checking]
    failures.commits(1, 1)
    assert [*seen, failures.checking] == [False, True]
    publish = Failures(None)
    publish.commits(1, 0)
    publish.tick(0.0)
    assert not publish.checking


def test_two_failed_restores_are_one_too_many_and_a_new_submission_begins_anew() -> None:
    failures = Failures(None)
    seen = []
    for failed_at in (None, 5, 5):
        failures.restore(failed_at)
        seen.append(failures.cannot_restore)
    failures.running(1000.0)  # It has run between the two.
    for failed_at in (6, 7):
        failures.restore(failed_at)
        seen.append(failures.cannot_restore)
    assert seen == [False, False, False, False, True]
    failures.new_submission(None)
    assert not failures.cannot_restore
