"""The judgement over labels: what the rules say, against the ledger that the stack runs, and against everything it could do wrong."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.ledger import Account, Decision, Incoming, Waits, expire, settle
from schemas.log import LabelEntry
from schemas.parsing import encode
from schemas.records import Feedback, FeedbackRef, LabelState, ModelVersion, Position, Prediction, Served, State
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


def what_the_ledger_says(labels: Sequence[LabelRecord], predicted_at: int | None, match_at: int) -> list[Decision]:
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
            feedback = Feedback(event_id="e", label=label.label or "", feedback_id=label.feedback_id)
            seen = Incoming(feedback=feedback, at=Position(partition=label.place[0], offset=label.place[1], time=label.time))
        if seen is not None:
            known = prediction("e", predicted_at) if predicted_at is not None and now >= match_at else None
            account, made = settle(account, seen, known, now=now, waits=WAITS)
            decisions += made
    return decisions


@given(
    classes=st.lists(st.sampled_from("ab"), min_size=1, max_size=6),
    gaps=st.lists(st.integers(0, 900), min_size=6, max_size=6),
    predicted_at=st.none() | st.integers(1, 4000),
    later=st.integers(0, 50),
    ids=st.lists(st.sampled_from(["m1", "m2", None]), min_size=6, max_size=6),
)
def test_the_reference_and_the_ledger_agree(
    classes: list[str], gaps: list[int], predicted_at: int | None, later: int, ids: list[str | None]
) -> None:
    times = [sum(gaps[: n + 1]) for n in range(len(classes))]
    labels = [LabelRecord((0, n), 7, label, time, feedback_id=ids[n]) for n, (label, time) in enumerate(zip(classes, times, strict=True))]
    decisions = what_the_ledger_says(labels, predicted_at, (predicted_at or 0) + later)
    # An orphan is declared at the wait's end; the other states as soon as they can be.
    found = {(d.incoming.at.partition, d.incoming.at.offset): Found(d.state, d.incoming.at.time + 1000, None) for d in decisions}
    assert set(found) == {label.place for label in labels}
    corrects = {(d.incoming.at.partition, d.incoming.at.offset): d.corrects for d in decisions}
    for label, expected in zip(labels, expected_states(labels, predicted_at, found, RULES), strict=True):
        assert found[label.place].state in expected.states
        if found[label.place].state in LEARNED:
            assert corrects[label.place] == expected.standing


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
    """Three labels of event 0 (a, a, b) and one of event 1, as a faultless stack writes them."""

    def __init__(self) -> None:
        self.classes = [("r-0", "a"), ("r-0", "a"), ("r-0", "b"), ("r-1", "c")]
        self.states = [(0, State.TRAINED, 1), (1, State.DUPLICATE, None), (2, State.CORRECTED, 2), (3, State.TRAINED, 3)]
        self.entries: list[tuple[int, int, str | None, str]] = [(1, 0, None, "text"), (2, 2, "a", "text"), (3, 3, None, "text")]

    def judged(self) -> LabelVerdict:
        labels, log = Labels("r", set()), ModelLog("r", "default")
        predictions = Predictions("r", task="default", newest=5, recent=5)
        predictions.add([record(prediction(event_id), n) for n, event_id in enumerate(("r-0", "r-1"))])
        predictions.add([record(prediction("r-0", predicted_at=550, text="another text"), 2)])
        labels.add_feedback([record(Feedback(event_id=e, label=label), n) for n, (e, label) in enumerate(self.classes)])
        labels.add_states([record(self.state(*state), n) for n, state in enumerate(self.states)])
        log.add([record(self.entry(*entry), n) for n, entry in enumerate(self.entries)])
        return judge_labels(labels, log, predictions, RULES)

    def state(self, offset: int, state: State, seq: int | None) -> LabelState:
        at = Position(partition=0, offset=offset)
        return LabelState(event_id=self.classes[offset][0], task="default", state=state, feedback=FeedbackRef(at=at), seq=seq, time=700)

    def entry(self, seq: int, offset: int, corrects: str | None, text: str) -> LabelEntry:
        event_id, label = self.classes[offset]
        served = Served(label="a", proba={"a": 1.0}, classes=1, model=ModelVersion(line="base", seq=0))
        return LabelEntry(
            seq=seq, task="default", time=700, event_id=event_id, text=text, meta={}, label=label, weight=1.0, served=served,
            feedback=FeedbackRef(at=Position(partition=0, offset=offset)), corrects=corrects,
        )  # fmt: skip


def test_a_faultless_stack_has_nothing_wrong() -> None:
    verdict = Topics().judged()
    assert verdict.good
    assert verdict.differences == []


def learned_twice(t: Topics) -> None:
    t.entries.append((4, 3, None, "text"))


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
    t.states[1] = (1, State.TRAINED, 4)
    t.entries.append((4, 1, None, "text"))


def another_seq(t: Topics) -> None:
    t.states[3] = (3, State.TRAINED, 9)


def another_text(t: Topics) -> None:
    t.entries[0] = (1, 0, None, "another text")


def nothing_corrected(t: Topics) -> None:
    t.entries[1] = (2, 2, None, "text")


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
    ],
)
def test_each_misbehaviour_is_found(misbehave: Callable[[Topics], None], counts: tuple[int, int, int, int], words: str | None) -> None:
    topics = Topics()
    misbehave(topics)
    verdict = topics.judged()
    assert not verdict.good
    assert (verdict.differ, verdict.learned_twice, verdict.learned_not_stated, verdict.stated_not_learned) == counts
    assert verdict.differences == ([words] if words else [])
