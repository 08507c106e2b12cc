"""When a refresh is due, told as time lines: the policy sees numbers and times, and no clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_model.triggers import Due, Rules, Seen, State, due, ended, look, retry_at, stale
from batch_model.worker_metrics import NAMES, Metrics
from schemas.settings import SettingsError
from schemas.worker_settings import read_worker_settings

pytestmark = pytest.mark.unit

NEVER = 1e12


class Line:
    """A time line of one task: `at` passes the time and what is seen then, and says what is due."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.state, self.seen, self.now = rules, State(since=0.0), Seen(), 0.0

    def at(self, now: float, **seen: object) -> str | None:
        self.now, self.seen = now, replace(self.seen, **seen)  # type: ignore[arg-type]  # the fields of what is seen
        self.state = look(self.state, self.seen)
        found = due(self.rules, self.state, self.seen, now=now)
        return found.trigger if found else None

    def done(self, outcome: str = "done") -> None:
        self.state = ended(self.state, outcome, begun=self.seen, now=self.now)  # type: ignore[arg-type]  # the test names outcomes
        if outcome == "done":
            self.seen = replace(self.seen, new_labels=0)


def test_on_schedule_but_not_without_labels() -> None:
    line = Line(Rules(every_s=100))
    assert line.at(99, new_labels=5) is None
    assert line.at(150, new_labels=0) is None
    assert line.at(151, new_labels=1) == "schedule"
    line.done()
    assert line.at(250, new_labels=3) is None
    assert line.at(251) == "schedule"


def test_after_labels_and_not_sooner_than_the_pause() -> None:
    line = Line(Rules(labels=10, pause_s=60))
    assert line.at(1, new_labels=9) is None
    assert line.at(2, new_labels=10, seq=12) == "labels"
    line.done()
    assert line.state.cut_seq == 12
    assert line.at(30, new_labels=50) is None
    assert line.at(62) == "labels"


def test_a_drift_alarm_counts_once() -> None:
    line = Line(Rules(on_drift=True, least_labels=5))
    assert line.at(1, alarms=1, new_labels=4) is None
    assert line.at(2, new_labels=5) == "drift"
    line.done()
    assert line.at(3, new_labels=50) is None
    assert line.at(4, alarms=2) == "drift"
    assert Line(Rules(on_drift=False)).at(5, alarms=3, new_labels=9) is None


def test_a_fall_below_the_best_or_below_all() -> None:
    line = Line(Rules(fall=0.1))
    assert line.at(1, window=0.9, overall=0.6, new_labels=1) is None
    assert line.at(2, window=0.81) is None
    assert line.at(3, window=0.79) == "fall"
    line.done()
    # The best is forgotten: what was good once may be out of reach now.
    assert line.at(4, window=0.79, new_labels=1) is None
    assert line.at(5, window=0.5, overall=0.65) == "fall"
    assert line.at(6, window=None) is None


def test_a_failed_one_waits_longer_and_longer_and_changes_nothing_else() -> None:
    line = Line(Rules(labels=10, retry_s=60, retry_longest_s=200))
    assert line.at(0, new_labels=10, seq=10) == "labels"
    waits = []
    for _ in range(4):
        line.done("failed")
        wait = retry_at(line.rules, line.state) - line.now
        assert line.at(line.now + wait - 1) is None
        assert line.at(line.now + 1) == "labels"
        waits.append(wait)
    assert waits == [60, 120, 200, 200]
    assert (line.state.done_at, line.state.cut_seq) == (None, 0)
    line.done()
    assert (line.state.failures, line.state.cut_seq) == (0, 10)


def test_staleness() -> None:
    rules = Rules(stale_labels_s=60, stale_refresh_s=1000)
    line = Line(rules)
    line.at(61)
    assert [found.kind for found in stale(rules, line.state, line.seen, now=61)] == ["labels_stale"]
    line.at(70, last_label_at=69.0)
    assert stale(rules, line.state, line.seen, now=70) == []
    line.at(1001, last_label_at=1000.0)
    assert [found.kind for found in stale(rules, line.state, line.seen, now=1001)] == ["refresh_stale"]
    line.done()
    assert stale(rules, line.state, line.seen, now=1002) == []
    assert stale(Rules(), State(since=0), Seen(), now=NEVER) == []


RULES = st.builds(
    Rules,
    every_s=st.sampled_from([0, 50]),
    labels=st.sampled_from([0, 20]),
    on_drift=st.booleans(),
    fall=st.sampled_from([0.0, 0.2]),
    least_labels=st.integers(1, 5),
    pause_s=st.sampled_from([0, 30]),
    retry_s=st.sampled_from([10, 40]),
    retry_longest_s=st.just(100),
)
STEPS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 15), st.booleans(), st.sampled_from([None, 0.3, 0.6, 0.9]), st.booleans()), max_size=40
)


@given(RULES, STEPS)
def test_on_any_time_line(rules: Rules, steps: list[tuple[int, int, bool, float | None, bool]]) -> None:
    """One that begins has something to learn and a reason, keeps the pause or the wait, and no trigger fires that is switched off."""
    state, seen, now = State(since=0.0), Seen(), 0.0
    for passed, labels, alarm, window, fails in steps:
        now += passed
        seq = seen.seq + labels
        seen = Seen(seq=seq, new_labels=seq - state.cut_seq, alarms=seen.alarms + alarm, window=window, overall=0.5)
        state = look(state, seen)
        found = due(rules, state, seen, now=now)
        if found is None:
            if not state.failures and rules.labels and (state.done_at is None or now >= state.done_at + rules.pause_s):
                assert seen.new_labels < rules.labels
            continue
        assert seen.new_labels >= rules.least_labels
        assert {"schedule": rules.every_s, "labels": rules.labels, "drift": rules.on_drift, "fall": rules.fall}[found.trigger]
        assert not state.failures or now >= (state.tried_at or 0) + min(rules.retry_s, rules.retry_longest_s)
        assert state.failures or state.done_at is None or now >= state.done_at + rules.pause_s
        before = state
        state = ended(state, "failed" if fails else "done", begun=seen, now=now)
        if fails:
            assert (state.done_at, state.cut_seq, state.alarms) == (before.done_at, before.cut_seq, before.alarms)
        else:
            assert due(replace(rules, every_s=0), state, replace(seen, new_labels=0), now=now) is None


def test_the_reasons_are_sentences_with_numbers() -> None:
    assert due(Rules(every_s=7200), State(since=0), Seen(new_labels=1), now=9000) == Due(
        "schedule", "2.5 h since the last refresh (a refresh every 2 h)"
    )


def test_metrics_are_text_that_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.set("millrace_refresh_new_labels", 12, task="default")
    metrics.set("millrace_refresh_new_labels", 3, task='od"d\n')
    metrics.set("millrace_window_accuracy", 0.5, task="default")
    metrics.set("millrace_window_accuracy", None, task="default")
    metrics.add("millrace_refresh_runs_total", task="default", outcome="done", trigger="labels")
    metrics.add("millrace_refresh_runs_total", task="default", outcome="done", trigger="labels")
    lines = metrics.text().splitlines()
    assert "# TYPE millrace_refresh_runs_total counter" in lines
    assert 'millrace_refresh_runs_total{outcome="done",task="default",trigger="labels"} 2.0' in lines
    assert 'millrace_refresh_new_labels{task="od\\"d\\n"} 3' in lines
    assert not any(line.startswith("millrace_window_accuracy") for line in lines)
    with pytest.raises(KeyError):
        metrics.set("millrace_unheard_of", 1)
    assert all(name.endswith("_total") == (kind == "counter") for name, (kind, _) in NAMES.items())


@pytest.mark.parametrize(
    "url", ["https://hooks.example:t0k3n/x", "https://[t0k3n/x", "https://hooks.example:99999/t0k3n", "https://:1/t0k3n"]
)
def test_a_webhook_that_is_no_address_is_refused_at_once_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="MILLRACE_REFRESH_ALERT_URL") as raised:
        read_worker_settings({"MILLRACE_REFRESH_ALERT_URL": url})
    assert "t0k3n" not in str(raised.value)
