"""The ledger as a state machine: any order of labels and matches, any repetition, every label in exactly one state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from online_model.ledger import WAITING_MAX, Account, Decision, Incoming, Waits, expire, settle
from schemas.records import Feedback, ModelVersion, Position, Prediction, State

pytestmark = pytest.mark.unit

WAITS = Waits(label_wait_ms=100, event_known_ms=1000)


def prediction(at: int = 0) -> Prediction:
    return Prediction(
        label="a",
        proba={"a": 1.0},
        classes=1,
        model=ModelVersion(line="base", seq=1),
        event_id="e",
        task="default",
        text="t",
        meta={},
        event_ts=0,
        predicted_at=at,
        source=Position(partition=0, offset=0),
    )


def incoming(offset: int, label: str, time: int = 0) -> Incoming:
    return Incoming(feedback=Feedback(event_id="e", label=label), at=Position(partition=0, offset=offset, time=time))


def states(decisions: list[Decision]) -> list[tuple[int, State, State | None]]:
    return [(d.incoming.at.offset, d.state, d.previous) for d in decisions]


def test_label_of_a_known_event_is_trained() -> None:
    account, decisions = settle(Account(), incoming(0, "a"), prediction(), now=0, waits=WAITS)
    assert states(decisions) == [(0, State.TRAINED, None)]
    assert decisions[0].prediction == prediction()
    assert (account.label, account.due) == ("a", 1000)


def test_same_label_again_is_a_duplicate_and_teaches_nothing() -> None:
    account, _ = settle(Account(), incoming(0, "a"), prediction(), now=0, waits=WAITS)
    _, decisions = settle(account, incoming(1, "a"), None, now=5, waits=WAITS)
    assert states(decisions) == [(1, State.DUPLICATE, None)]
    assert decisions[0].prediction is None


def test_other_label_corrects_and_says_what_stood() -> None:
    account, _ = settle(Account(), incoming(0, "a"), prediction(), now=0, waits=WAITS)
    account, decisions = settle(account, incoming(1, "b"), prediction(), now=5, waits=WAITS)
    assert states(decisions) == [(1, State.CORRECTED, None)]
    assert (decisions[0].corrects, decisions[0].prediction is not None, account.label) == ("a", True, "b")


def test_labels_before_their_event_wait_and_are_decided_in_order() -> None:
    account, first = settle(Account(), incoming(3, "a"), None, now=0, waits=WAITS)
    account, second = settle(account, incoming(4, "b"), None, now=1, waits=WAITS)
    account, decisions = settle(account, incoming(4, "b"), prediction(), now=2, waits=WAITS)
    assert states(first + second) == [(3, State.WAITING, None), (4, State.WAITING, None)]
    assert states(decisions) == [(3, State.TRAINED, State.WAITING), (4, State.CORRECTED, State.WAITING)]
    assert settle(account, incoming(3, "a"), prediction(), now=3, waits=WAITS)[1] == []


def test_label_without_event_is_an_orphan_for_good() -> None:
    account, _ = settle(Account(), incoming(0, "a"), None, now=0, waits=WAITS)
    left, decisions = expire(account, now=100)
    assert states(decisions) == [(0, State.ORPHAN, State.WAITING)]
    assert left is not None
    assert settle(left, incoming(0, "a"), prediction(), now=101, waits=WAITS)[1] == []
    assert expire(left, now=1100) == (None, [])


def test_only_so_many_labels_of_one_event_wait_and_all_of_them_are_decided() -> None:
    account, last = Account(), incoming(WAITING_MAX, "b")
    for offset in range(WAITING_MAX):
        account, decisions = settle(account, incoming(offset, "ab"[offset % 2]), None, now=0, waits=WAITS)
        assert states(decisions) == [(offset, State.WAITING, None)]
    account, decisions = settle(account, last, None, now=0, waits=WAITS)
    assert states(decisions) == [(WAITING_MAX, State.ORPHAN, None)]
    assert settle(account, last, None, now=0, waits=WAITS) == (account, [])
    # The match brings the last label along, which is decided.
    account, decisions = settle(account, last, prediction(), now=0, waits=WAITS)
    assert [(d.incoming.at.offset, d.previous) for d in decisions] == [(offset, State.WAITING) for offset in range(WAITING_MAX)]
    assert {d.state for d in decisions} == {State.TRAINED, State.CORRECTED}
    assert settle(account, last, prediction(), now=0, waits=WAITS) == (account, [])


def test_label_that_comes_after_the_wait_is_expired_and_teaches_nothing() -> None:
    account, decisions = settle(Account(), incoming(0, "a", time=101), prediction(), now=101, waits=WAITS)
    assert states(decisions) == [(0, State.EXPIRED, None)]
    assert (decisions[0].prediction, account.label) == (None, None)


def test_label_counts_as_in_time_by_its_own_clock_however_late_it_is_read() -> None:
    _, decisions = settle(Account(), incoming(0, "a", time=100), prediction(), now=900, waits=WAITS)
    assert states(decisions) == [(0, State.TRAINED, None)]


@given(st.integers(0, 99))
def test_nothing_expires_early(now: int) -> None:
    account, _ = settle(Account(), incoming(0, "a"), None, now=0, waits=WAITS)
    assert expire(account, now=now) == (account, [])


class LedgerMachine(RuleBasedStateMachine):
    """Drives one account; remembers, with plain lists, what was sent and what was decided."""

    @initialize()
    def start(self) -> None:
        self.account: Account | None = Account()
        self.now = 0
        self.sent: list[Incoming] = []
        self.said: list[Decision] = []
        self.prediction: Prediction | None = None

    def _settle(self, label: Incoming, match: Prediction | None) -> None:
        self.account, decisions = settle(self.account or Account(), label, match, now=self.now, waits=WAITS)
        self.said += decisions

    @rule(label=st.sampled_from("ab"))
    def send(self, label: str) -> None:
        self.sent.append(incoming(len(self.sent), label, self.now))
        self._settle(self.sent[-1], self.prediction)

    @rule(data=st.data())
    def event_arrives(self, data: st.DataObject) -> None:
        self.prediction = self.prediction or prediction(self.now)
        for label in data.draw(st.permutations(self.sent)):
            self._settle(label, self.prediction)

    @rule(data=st.data())
    def row_comes_again(self, data: st.DataObject) -> None:
        if self.sent:
            self._settle(data.draw(st.sampled_from(self.sent)), self.prediction)

    @rule(passed=st.integers(1, 60))
    def time_passes(self, passed: int) -> None:
        self.now += passed
        # Accounts are forgotten only long after all their labels; that is another test's subject.
        if self.account is not None and min((w.due for w in self.account.waiting), default=self.now + 1) <= self.now:
            self.account, decisions = expire(self.account, now=self.now)
            self.said += decisions

    @invariant()
    def every_label_is_in_exactly_one_state(self) -> None:
        now_in: dict[int, State] = {}
        for decision in self.said:
            offset = decision.incoming.at.offset
            assert decision.previous == now_in.get(offset), "each change starts from the state announced last"
            assert now_in.get(offset) in (None, State.WAITING), "a final state never changes"
            now_in[offset] = decision.state
        assert sorted(now_in) == [label.at.offset for label in self.sent]

    @invariant()
    def what_is_learned_follows_from_the_labels_in_order(self) -> None:
        standing = None
        finals = sorted((d for d in self.said if d.state is not State.WAITING), key=lambda d: d.incoming.at.offset)
        for decision in finals:
            if decision.state is State.ORPHAN:
                continue
            label = decision.incoming.feedback.label
            expected = self.expected(decision.incoming, standing)
            assert decision.state is expected
            assert (decision.prediction is not None) == (expected in (State.TRAINED, State.CORRECTED))
            standing = standing if expected is State.EXPIRED else label

    def expected(self, label: Incoming, standing: str | None) -> State:
        assert self.prediction is not None
        if label.feedback.label == standing:
            return State.DUPLICATE
        if label.at.time > self.prediction.predicted_at + WAITS.label_wait_ms:
            return State.EXPIRED
        return State.TRAINED if standing is None else State.CORRECTED


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.pytestmark = pytest.mark.unit  # type: ignore[attr-defined]  # pytest reads it from the class
