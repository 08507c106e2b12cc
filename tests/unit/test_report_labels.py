"""The judgement over labels: what the rules say, against the ledger that the stack runs, and against everything it could do wrong."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.ledger import Account, Decision, Incoming, Waits, expire, settle
from schemas.log import LabelEntry, VerdictEntry
from schemas.parsing import encode
from schemas.records import Feedback, FeedbackRef, LabelState, ModelVersion, Position, Prediction, Served, State, Verdict
from stack.label_reference import LEARNED, Found, LabelRecord, Rules, expected_states
from stack.report_labels import LabelVerdict, judge_labels
from stack.tallies import Labels, ModelLog, Predictions

pytestmark = pytest.mark.unit

RULES = Rules(label_wait_ms=1000, event_known_ms=100_000)
WAITS = Waits(label_wait_ms=1000, event_known_ms=100_000)


def prediction(event_id: str, predicted_at: int = 500, text: str = "text") -> Prediction:
    return Prediction(
        label="a",
        proba={"a": 1.0},
        classes=1,
        model=ModelVersion(line="base", seq=0),
        event_id=event_id,
        task="default",
        text=text,
        meta={},
        event_ts=1,
        predicted_at=predicted_at,
        source=Position(partition=0, offset=0),
    )


def what_the_ledger_says(
    labels: Sequence[LabelRecord], predicted_at: int | None, match_at: int, served: str | None = "a"
) -> list[Decision]:
    """Let the stack's own ledger decide: labels are read at their time, the prediction is met at `match_at`, timers fire on time."""
    account = Account()
    decisions: list[Decision] = []
    steps: list[tuple[int, int, LabelRecord | None]] = [(label.time, n, label) for n, label in enumerate(labels)]
    if predicted_at is not None and labels:
        steps.append((match_at, len(labels), None))
    seen: Incoming | None = None
    for now, _, label in sorted(steps, key=lambda step: step[:2]):
        if account.waiting and account.due <= now:
            left, made = expire(account, now=now)
            account, decisions = left or Account(), decisions + made
        if label is not None:
            feedback = Feedback(event_id="e", label=label.label, verdict=label.verdict, feedback_id=label.feedback_id)
            seen = Incoming(feedback=feedback, at=Position(partition=label.place[0], offset=label.place[1], time=label.time))
        if seen is not None:
            first = msgspec.structs.replace(prediction("e", predicted_at or 0), label=served)
            known = first if predicted_at is not None and now >= match_at else None
            account, made = settle(account, seen, known, now=now, waits=WAITS)
            decisions += made
    return decisions


VERDICTS: dict[str, Verdict] = {"right": "right", "wrong": "wrong"}


@given(
    said=st.lists(st.sampled_from(["a", "b", "right", "wrong", "wrong"]), min_size=1, max_size=6),
    served=st.sampled_from(["a", "a", "b", None]),
    gaps=st.lists(st.integers(0, 900), min_size=6, max_size=6),
    predicted_at=st.none() | st.integers(1, 4000),
    later=st.integers(0, 50),
    ids=st.lists(st.sampled_from(["m1", "m2", None]), min_size=6, max_size=6),
)
def test_the_reference_and_the_ledger_agree(
    said: list[str], served: str | None, gaps: list[int], predicted_at: int | None, later: int, ids: list[str | None]
) -> None:
    labels = []
    for n, what in enumerate(said):
        verdict = VERDICTS.get(what)
        labels.append(LabelRecord((0, n), 7, None if verdict else what, sum(gaps[: n + 1]), feedback_id=ids[n], verdict=verdict))
    decisions = what_the_ledger_says(labels, predicted_at, (predicted_at or 0) + later, served)
    # An orphan is declared at the wait's end; the other states as soon as they can be.
    found = {(d.incoming.at.partition, d.incoming.at.offset): Found(d.state, d.incoming.at.time + 1000, None) for d in decisions}
    assert set(found) == {label.place for label in labels}
    last = {(d.incoming.at.partition, d.incoming.at.offset): d for d in decisions}
    for label, expected in zip(labels, expected_states(labels, predicted_at, found, RULES, served=served), strict=True):
        decision = last[label.place]
        assert decision.state in expected.states
        if decision.state in LEARNED | {State.MARKED}:
            assert (decision.corrects, decision.label, decision.marked) == (expected.standing, expected.label, expected.marked)


def test_an_orphan_too_early_is_not_open() -> None:
    label = LabelRecord((0, 0), 7, "a", 100)
    for decided_at, allowed in ((1099, {State.TRAINED}), (1100, {State.TRAINED, State.ORPHAN})):
        (expected,) = expected_states([label], 50, {(0, 0): Found(State.ORPHAN, decided_at, None)}, RULES)
        assert expected.states == allowed


def test_what_follows_an_orphan_that_may_be_one_is_the_first_to_be_learned() -> None:
    labels = [LabelRecord((0, 0), 7, "a", 100), LabelRecord((0, 1), 7, "a", 1500)]
    found = {(0, 0): Found(State.ORPHAN, 1200, None)}
    assert [set(e.states) for e in expected_states(labels, 1300, found, RULES)] == [{State.TRAINED, State.ORPHAN}, {State.TRAINED}]


def test_a_label_after_the_event_may_be_forgotten_is_open_and_a_refused_one_is_rejected() -> None:
    labels = [LabelRecord((0, 0), 7, "a", 200_000), LabelRecord((0, 1), 7, None, 200_000, refused=True)]
    first, second = expected_states(labels, 50, {(0, 0): Found(State.ORPHAN, 200_001, None)}, RULES)
    assert {State.ORPHAN, State.EXPIRED, State.TRAINED} <= first.states
    assert second.states == {State.REJECTED}


def record(value: msgspec.Struct, offset: int, *, time: int = 600) -> Any:
    return SimpleNamespace(value=encode(value), partition=0, offset=offset, timestamp=time)


class Topics:
    """Three labels of event 0 (a, a, b), one of event 1, verdicts on 2 and 3, all served as `a`, as a faultless stack writes them."""

    def __init__(self) -> None:
        self.said = [
            ("r-0", "a"),
            ("r-0", "a"),
            ("r-0", "b"),
            ("r-1", "c"),
            ("r-2", "wrong"),
            ("r-2", "right"),
            ("r-3", "a"),
            ("r-3", "wrong"),
        ]
        self.states = [
            (0, State.TRAINED, 1),
            (1, State.DUPLICATE, None),
            (2, State.CORRECTED, 2),
            (3, State.TRAINED, 3),
            (4, State.MARKED, 4),
            (5, State.TRAINED, 5),
            (6, State.TRAINED, 6),
            (7, State.MARKED, None),
        ]
        self.entries: list[tuple[int, int, str | None, str]] = [
            (1, 0, None, "text"),
            (2, 2, "a", "text"),
            (3, 3, None, "text"),
            (4, 4, None, "text"),
            (5, 5, None, "text"),
            (6, 6, None, "text"),
        ]
        self.marked = {5}
        self.denied = "a"

    def judged(self) -> LabelVerdict:
        labels, log = Labels("r", set()), ModelLog("r", "default")
        predictions = Predictions("r", task="default", newest=5, recent=5)
        predictions.add([record(prediction(f"r-{n}"), n) for n in range(4)])
        predictions.add([record(prediction("r-0", predicted_at=550, text="another text"), 4)])
        labels.add_feedback([record(self.feedback(event_id, said), n) for n, (event_id, said) in enumerate(self.said)])
        labels.add_states([record(self.state(*state), n) for n, state in enumerate(self.states)])
        log.add([record(self.entry(*entry), n) for n, entry in enumerate(self.entries)])
        return judge_labels(labels, log, predictions, RULES)

    def feedback(self, event_id: str, said: str) -> Feedback:
        verdict = VERDICTS.get(said)
        return Feedback(event_id=event_id, label=None if verdict else said, verdict=verdict)

    def state(self, offset: int, state: State, seq: int | None) -> LabelState:
        at = Position(partition=0, offset=offset)
        return LabelState(event_id=self.said[offset][0], task="default", state=state, feedback=FeedbackRef(at=at), seq=seq, time=700)

    def entry(self, seq: int, offset: int, corrects: str | None, text: str) -> LabelEntry | VerdictEntry:
        event_id, said = self.said[offset]
        served = Served(label="a", proba={"a": 1.0}, classes=1, model=ModelVersion(line="base", seq=0))
        ref = FeedbackRef(at=Position(partition=0, offset=offset))
        if said == "wrong":
            served = msgspec.structs.replace(served, label=self.denied)
            return VerdictEntry(seq=seq, task="default", time=700, event_id=event_id, weight=1.0, served=served, feedback=ref)
        return LabelEntry(
            seq=seq, task="default", time=700, event_id=event_id, text=text, meta={}, label="a" if said == "right" else said, weight=1.0,
            served=served, feedback=ref, corrects=corrects, marked=seq in self.marked,
        )  # fmt: skip


def learned_twice(t: Topics) -> None:
    t.entries.append((7, 3, None, "text"))


def not_in_the_log(t: Topics) -> None:
    del t.entries[2]


def stated_as_duplicate(t: Topics) -> None:
    t.states[3] = (3, State.DUPLICATE, None)


def a_second_final_state(t: Topics) -> None:
    t.states.append((1, State.DUPLICATE, None))


def correction_taken_for_a_duplicate(t: Topics) -> None:
    t.states[2] = (2, State.DUPLICATE, None)
    del t.entries[1]


def duplicate_learned(t: Topics) -> None:
    t.states[1] = (1, State.TRAINED, 7)
    t.entries.append((7, 1, None, "text"))


def another_seq(t: Topics) -> None:
    t.states[3] = (3, State.TRAINED, 9)


def another_text(t: Topics) -> None:
    t.entries[0] = (1, 0, None, "another text")


def nothing_corrected(t: Topics) -> None:
    t.entries[1] = (2, 2, None, "text")


def wrong_not_in_the_log(t: Topics) -> None:
    del t.entries[3]


def wrong_of_another_label(t: Topics) -> None:
    t.denied = "b"


def wrong_taken_for_a_duplicate(t: Topics) -> None:
    t.states[7] = (7, State.DUPLICATE, None)


def wrong_scored_after_a_label(t: Topics) -> None:
    t.states[7] = (7, State.MARKED, 7)
    t.entries.append((7, 7, None, "text"))


def label_that_does_not_know_of_the_wrong(t: Topics) -> None:
    t.marked = set()


@pytest.mark.parametrize(
    ("misbehave", "counts", "words"),
    [
        (learned_twice, (0, 1, 0, 0), None),
        (not_in_the_log, (0, 0, 0, 1), None),
        (stated_as_duplicate, (1, 0, 1, 0), "label of event 1 at 0:3: duplicate, expected trained"),
        (a_second_final_state, (1, 0, 0, 0), "label of event 0 at 0:1: has a second final state: duplicate after duplicate"),
        (correction_taken_for_a_duplicate, (1, 0, 0, 0), "label of event 0 at 0:2: duplicate, expected corrected"),
        (duplicate_learned, (1, 0, 0, 0), "label of event 0 at 0:1: trained, expected duplicate"),
        (another_seq, (1, 0, 0, 0), "label of event 1 at 0:3: its entry in the log has seq 3, expected 9"),
        (another_text, (1, 0, 0, 0), "label of event 0 at 0:0: its entry in the log does not hold the first prediction of its event"),
        (nothing_corrected, (1, 0, 0, 0), "label of event 0 at 0:2: its entry in the log has corrected label None, expected a"),
        (wrong_not_in_the_log, (0, 0, 0, 1), None),
        (
            wrong_of_another_label,
            (1, 0, 0, 0),
            "label of event 2 at 0:4: its entry in the log does not hold the first prediction of its event",
        ),
        (wrong_taken_for_a_duplicate, (1, 0, 0, 0), "label of event 3 at 0:7: duplicate, expected marked"),
        (wrong_scored_after_a_label, (1, 0, 0, 0), "label of event 3 at 0:7: has scored, though a label had"),
        (
            label_that_does_not_know_of_the_wrong,
            (1, 0, 0, 0),
            "label of event 2 at 0:5: its entry in the log has verdict before it False, expected True",
        ),
    ],
)
def test_each_misbehaviour_is_found(misbehave: Callable[[Topics], None], counts: tuple[int, int, int, int], words: str | None) -> None:
    topics = Topics()
    misbehave(topics)
    verdict = topics.judged()
    assert not verdict.good
    assert (verdict.differ, verdict.learned_twice, verdict.learned_not_stated, verdict.stated_not_learned) == counts
    assert verdict.differences == ([words] if words else [])
