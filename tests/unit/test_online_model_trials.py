import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from online_model.trials import Decision, TrialRules, binomial_tail, compared, decide, is_possible, new_trial
from schemas.records import Role, Score, Trial
from schemas.settings import Settings

pytestmark = pytest.mark.unit

RIGHT, WRONG = Score(correct=True, log_loss=0.1), Score(correct=False, log_loss=3.0)


def played(role: Role, champion: float, line: float, labels: int, rules: TrialRules, draw: random.Random) -> tuple[Trial, Decision | None]:
    """Play a trial of two that are right with these probabilities, until it is decided."""
    trial = new_trial("r1", role, "base", 7, 0.2)
    for _ in range(labels):
        scores = [RIGHT if draw.random() < share else WRONG for share in (champion, line)]
        trial = compared(trial, *scores)
        assert is_possible(trial)
        if (decision := decide(trial, rules)) is not None:
            return trial, decision
    return trial, None


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_tail_is_the_binomial_one(first: int, second: int) -> None:
    wins, games = min(first, second), max(first, second)
    expected = float(binom.sf(wins - 1, games, 0.5))
    assert binomial_tail(wins, games) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("wins", "games"), [(500_500, 1_000_000), (502_000, 1_000_000), (1_000_000, 1_000_000)])
def test_the_tail_of_a_million(wins: int, games: int) -> None:
    assert binomial_tail(wins, games) == pytest.approx(float(binom.sf(wins - 1, games, 0.5)), rel=1e-7)


@pytest.mark.parametrize("error", [0.05, 0.2])
def test_of_lines_that_are_as_good_as_the_champion_no_more_than_the_error_win(error: float) -> None:
    """Over the whole trial and all its looks, counted with all lines that it calls better by mistake."""
    draw, trials = random.Random(5), 1000
    rules = TrialRules(least_labels=25, most_labels=800, error=error)
    ends: Counter[str] = Counter()
    for _ in range(trials):
        _, decision = played("shadow", 0.7, 0.7, 800, rules, draw)
        assert decision is not None
        ends[decision.action] += 1
    # Five standard deviations above what is allowed would be seen by chance once in millions.
    assert ends["promote"] <= trials * error + 5 * (trials * error) ** 0.5
    assert ends["drop"] == trials - ends["promote"]


def test_a_line_that_is_much_better_wins_with_the_least_labels() -> None:
    trial, decision = played("split", 0.2, 0.9, 5000, TrialRules(), random.Random(1))
    assert decision is not None
    assert (decision.action, decision.line, trial.labels) == ("promote", "r1", 50)
    assert decision.metrics["labels"] == 50.0
    assert decision.metrics["p_value"] <= decision.metrics["p_allowed"] == 0.005
    assert "r1 is better than base: of 50 labels" in decision.why


def test_a_champion_that_has_become_useless_is_rolled_back_with_the_least_labels() -> None:
    trial, decision = played("former", 0.05, 0.8, 5000, TrialRules(), random.Random(1))
    assert decision is not None
    assert (decision.action, decision.line, trial.labels) == ("rollback", "r1", 50)


@pytest.mark.parametrize("role", ["shadow", "split"])
def test_a_line_that_is_much_worse_is_dropped_early(role: Role) -> None:
    trial, decision = played(role, 0.9, 0.2, 5000, TrialRules(), random.Random(1))
    assert decision is not None
    assert (decision.action, trial.labels) == ("drop", 50)


def test_a_former_line_is_kept_to_the_end_however_bad_it_is() -> None:
    trial, decision = played("former", 0.9, 0.2, 5000, TrialRules(most_labels=700), random.Random(1))
    assert decision is not None
    assert (decision.action, trial.labels) == ("drop", 700)


def test_a_line_that_is_better_by_less_than_the_margin_does_not_win() -> None:
    rules = TrialRules(most_labels=3000, margin=0.2)
    _, decision = played("shadow", 0.6, 0.7, 3000, rules, random.Random(2))
    assert decision is not None
    assert decision.action == "drop"
    assert played("shadow", 0.6, 0.7, 3000, TrialRules(most_labels=3000), random.Random(2))[1].action == "promote"  # type: ignore[union-attr]  # decided


def test_looks_are_at_the_least_labels_doubled_and_at_the_most() -> None:
    rules = TrialRules(least_labels=50, most_labels=500, error=0.01)
    trial, looks = new_trial("r1", "shadow", "base", 7, 0.0), []
    for _ in range(500):
        trial = compared(trial, WRONG, RIGHT)
        if (decision := decide(trial, rules)) is not None:
            looks.append((trial.labels, round(0.01 / decision.metrics["p_allowed"])))
    assert looks == [(50, 2), (100, 6), (200, 12), (400, 20), (500, 30)]


def test_with_fewer_labels_at_most_than_at_least_the_most_decide() -> None:
    rules = TrialRules(least_labels=100, most_labels=10)
    trial, decision = played("shadow", 0.5, 0.5, 100, rules, random.Random(1))
    assert decision is not None
    assert (decision.action, trial.labels) == ("drop", 10)


def test_the_rules_are_those_of_the_settings() -> None:
    settings = Settings(trial_least_labels=7, trial_most_labels=70, trial_error=0.2, trial_margin=0.01)
    assert TrialRules.configured(settings) == TrialRules(least_labels=7, most_labels=70, error=0.2, margin=0.01)
    assert TrialRules.configured(Settings()) == TrialRules()


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": -1},
        {"line_correct": 3},
        {"only_line": 2},
        {"line_log_loss": float("inf")},
        {"champion_log_loss": -1.0},
        {"served_correct": 1},
    ],
)
def test_a_trial_that_cannot_have_come_about_is_told(wrong: dict[str, float]) -> None:
    fields = {"labels": 2, "line_correct": 1, "only_line": 1} | wrong
    assert not is_possible(Trial(line="r", role="shadow", champion="base", since_seq=0, **fields))  # type: ignore[arg-type]  # any number
