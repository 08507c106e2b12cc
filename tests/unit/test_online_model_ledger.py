"""The ledger: its rules one by one, then as a state machine beside a reference model that recomputes everything from the full history."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from online_model.ledger import MESSAGES_MAX, NOTHING_SERVED, WAITING_MAX, Account, Decision, Incoming, Waits, expire, settle
from schemas.records import Feedback, ModelVersion, Position, Prediction, State, Verdict

pytestmark = pytest.mark.unit

WAITS = Waits(label_wait_ms=100, event_known_ms=1000)


def prediction(at: int = 0, text: str = "t", label: str | None = "a") -> Prediction:
    return Prediction(
        label=label,
        proba={label: 1.0} if label else {},
        classes=1,
        model=ModelVersion(line="base", seq=1),
        event_id="e",
        task="default",
        text=text,
        meta={},
        event_ts=0,
        predicted_at=at,
        source=Position(partition=0, offset=0),
    )


def incoming(
    offset: int, label: str, time: int = 0, *, text: str | None = None, partition: int = 0, feedback_id: str | None = None
) -> Incoming:
    feedback = Feedback(event_id="e", label=label, text=text, feedback_id=feedback_id)
    return Incoming(feedback=feedback, at=Position(partition=partition, offset=offset, time=time))


def verdict(offset: int, said: Verdict, time: int = 0, *, feedback_id: str | None = None) -> Incoming:
    feedback = Feedback(event_id="e", verdict=said, feedback_id=feedback_id)
    return Incoming(feedback=feedback, at=Position(partition=0, offset=offset, time=time))


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


def test_message_sent_again_after_a_correction_is_a_duplicate_and_its_id_with_another_label_is_not() -> None:
    account, said = Account(), []
    for offset, (label, feedback_id) in enumerate([("a", "f"), ("b", None), ("a", "f"), ("c", "f"), ("a", "g"), ("b", None)]):
        sent = incoming(offset, label, feedback_id=feedback_id)
        account, decisions = settle(account, sent, prediction(), now=0, waits=WAITS)
        said += [d.state for d in decisions]
    learned = [State.TRAINED, State.CORRECTED, State.DUPLICATE, State.CORRECTED, State.CORRECTED, State.CORRECTED]
    assert (said, account.label) == (learned, "b")


def test_labels_before_their_event_wait_and_are_decided_in_order() -> None:
    account, first = settle(Account(), incoming(3, "a"), None, now=0, waits=WAITS)
    account, second = settle(account, incoming(4, "b"), None, now=1, waits=WAITS)
    account, decisions = settle(account, incoming(4, "b"), prediction(), now=2, waits=WAITS)
    assert states(first + second) == [(3, State.WAITING, None), (4, State.WAITING, None)]
    assert states(decisions) == [(3, State.TRAINED, State.WAITING), (4, State.CORRECTED, State.WAITING)]
    assert settle(account, incoming(3, "a"), prediction(), now=3, waits=WAITS)[1] == []


def test_self_contained_label_is_trained_at_once_and_scores_nothing() -> None:
    account, decisions = settle(Account(), incoming(0, "a", text="mine"), None, now=0, waits=WAITS)
    assert states(decisions) == [(0, State.TRAINED, None)]
    assert (decisions[0].text, decisions[0].prediction, account.label) == ("mine", None, "a")
    assert expire(account, now=999) == (account, [])
    assert expire(account, now=1000) == (None, [])


def test_labels_that_wait_are_decided_first_with_the_text_that_a_later_label_brings() -> None:
    account, _ = settle(Account(), incoming(3, "a"), None, now=0, waits=WAITS)
    account, decisions = settle(account, incoming(4, "b", text="mine"), None, now=1, waits=WAITS)
    assert states(decisions) == [(3, State.TRAINED, State.WAITING), (4, State.CORRECTED, None)]
    assert [d.text for d in decisions] == ["mine", "mine"]
    assert expire(account, now=100) == (account, [])


def test_one_event_has_one_text_the_prediction_s_or_else_the_first_that_a_label_brought() -> None:
    account, first = settle(Account(), incoming(0, "a", text="first"), None, now=0, waits=WAITS)
    account, second = settle(account, incoming(1, "b", text="second"), None, now=1, waits=WAITS)
    account, third = settle(account, incoming(2, "a", text="third"), prediction(2, text="asked"), now=2, waits=WAITS)
    assert [d.text for d in first + second + third] == ["first", "first", "asked"]
    assert [d.prediction is not None for d in first + second + third] == [False, False, True]
    assert (account.text, account.prediction is not None) == (None, True)


def test_first_prediction_counts_also_when_another_is_matched_later() -> None:
    account, _ = settle(Account(), incoming(0, "a"), prediction(0, text="first"), now=0, waits=WAITS)
    _, decisions = settle(account, incoming(1, "b"), prediction(5, text="second"), now=5, waits=WAITS)
    assert [d.text for d in decisions] == ["first"]


def test_self_contained_label_of_a_known_event_scores_its_prediction_and_never_expires() -> None:
    _, decisions = settle(Account(), incoming(0, "a", time=5000, text="mine"), prediction(), now=5000, waits=WAITS)
    assert states(decisions) == [(0, State.TRAINED, None)]
    assert (decisions[0].text, decisions[0].prediction) == ("t", prediction())


def test_prediction_that_comes_after_a_self_contained_label_does_not_teach_it_again() -> None:
    account, _ = settle(Account(), incoming(0, "a", text="mine"), None, now=0, waits=WAITS)
    account, decisions = settle(account, incoming(0, "a", text="mine"), prediction(50), now=60, waits=WAITS)
    assert decisions == []
    account, decisions = settle(account, incoming(1, "b"), None, now=70, waits=WAITS)
    assert states(decisions) == [(1, State.CORRECTED, None)]
    assert (decisions[0].corrects, decisions[0].prediction) == ("a", prediction(50))


@pytest.mark.parametrize(("late", "state"), [(100, State.CORRECTED), (101, State.EXPIRED)])
def test_label_after_a_self_contained_one_expires_as_after_a_prediction(late: int, state: State) -> None:
    account, _ = settle(Account(), incoming(0, "a", time=1000, text="mine"), None, now=0, waits=WAITS)
    _, decisions = settle(account, incoming(1, "b", time=1000 + late), None, now=5, waits=WAITS)
    assert states(decisions) == [(1, state, None)]


def test_row_that_comes_again_keeps_the_account_so_that_its_label_is_not_taught_again() -> None:
    account, _ = settle(Account(), incoming(0, "a"), prediction(), now=0, waits=WAITS)
    account, _ = settle(account, incoming(0, "a"), prediction(), now=999, waits=WAITS)
    kept, _ = expire(account, now=1000)
    assert kept is not None
    assert settle(kept, incoming(0, "a"), prediction(), now=1001, waits=WAITS)[1] == []


def test_account_that_waits_longer_than_events_are_known_is_kept_until_it_is_decided() -> None:
    waits = Waits(label_wait_ms=100, event_known_ms=10)
    account, _ = settle(Account(), incoming(0, "a"), None, now=0, waits=waits)
    assert account.due == 100
    assert expire(account, now=99) == (account, [])
    left, decisions = expire(account, now=100)
    assert (left, states(decisions)) == (None, [(0, State.ORPHAN, State.WAITING)])


def test_label_without_event_is_an_orphan_for_good() -> None:
    account, _ = settle(Account(), incoming(0, "a"), None, now=0, waits=WAITS)
    left, decisions = expire(account, now=100)
    assert states(decisions) == [(0, State.ORPHAN, State.WAITING)]
    assert left is not None
    assert settle(left, incoming(0, "a"), prediction(), now=101, waits=WAITS)[1] == []
    assert expire(left, now=1100) == (None, [])


def test_only_so_many_messages_of_one_event_are_remembered() -> None:
    account = Account()
    for offset in range(MESSAGES_MAX + 5):
        label = incoming(offset, "ab"[offset % 2])
        label = msgspec.structs.replace(label, feedback=msgspec.structs.replace(label.feedback, feedback_id=f"m{offset}"))
        account, _ = settle(account, label, prediction(), now=0, waits=WAITS)
    assert [message for message, _ in account.messages] == [f"m{offset}" for offset in range(5, MESSAGES_MAX + 5)]


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


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        # What is said of an event for which `a` was served; then for each: state, what it says, whether it scores.
        ("right", "trained a scores"),
        ("right right", "trained a scores, duplicate a"),
        ("a right", "trained a scores, duplicate a"),
        ("right b", "trained a scores, corrected b"),
        ("b right", "trained b scores, corrected a"),
        ("wrong", "marked scores"),
        ("wrong wrong", "marked scores, duplicate"),
        ("b wrong", "trained b scores, duplicate"),
        ("wrong b", "marked scores, trained b"),
        ("wrong b wrong", "marked scores, trained b, duplicate"),
        ("wrong a", "marked scores, trained a"),
        ("wrong right wrong", "marked scores, trained a, marked"),
        ("a wrong", "trained a scores, marked"),
        ("a wrong wrong", "trained a scores, marked, duplicate"),
        ("a wrong a wrong", "trained a scores, marked, duplicate a, marked"),
        ("a wrong b wrong", "trained a scores, marked, corrected b, duplicate"),
        ("wrong b right wrong b", "marked scores, trained b, corrected a, marked, corrected b"),
    ],
)
def test_verdicts_and_labels_of_one_event_in_any_order(said: str, becomes: str) -> None:
    account, found = Account(), []
    for offset, word in enumerate(said.split()):
        sent = verdict(offset, word) if word in ("right", "wrong") else incoming(offset, word)  # type: ignore[arg-type]  # one of the two
        account, (decision,) = settle(account, sent, prediction(), now=0, waits=WAITS)
        found.append(" ".join(filter(None, (decision.state, decision.label, "scores" if scores(decision) else ""))))
        assert decision.prediction is not None or decision.state is State.DUPLICATE
        assert (decision.text is None) == (decision.state in (State.MARKED, State.DUPLICATE)), "a `wrong` teaches nothing"
    assert ", ".join(found) == becomes


def test_a_verdict_waits_for_its_event_and_is_an_orphan_without_one() -> None:
    account, first = settle(Account(), verdict(0, "wrong"), None, now=0, waits=WAITS)
    account, second = settle(account, verdict(1, "right"), None, now=0, waits=WAITS)
    assert states(first + second) == [(0, State.WAITING, None), (1, State.WAITING, None)]
    _, decisions = settle(account, verdict(1, "right"), prediction(), now=1, waits=WAITS)
    assert states(decisions) == [(0, State.MARKED, State.WAITING), (1, State.TRAINED, State.WAITING)]
    assert [(d.label, d.marked) for d in decisions] == [(None, False), ("a", True)]
    assert states(expire(account, now=100)[1]) == [(0, State.ORPHAN, State.WAITING), (1, State.ORPHAN, State.WAITING)]


@pytest.mark.parametrize("said", ["right", "wrong"])
def test_a_verdict_on_nothing_is_rejected_with_the_reason_and_changes_nothing(said: Verdict) -> None:
    _, (unknown,) = settle(Account(), verdict(0, said), prediction(label=None), now=0, waits=WAITS)
    account, _ = settle(Account(), incoming(0, "a", text="mine"), None, now=0, waits=WAITS)
    after, (unasked,) = settle(account, verdict(1, said), None, now=0, waits=WAITS)
    assert [(d.state, d.reason, d.text, d.label) for d in (unknown, unasked)] == [(State.REJECTED, NOTHING_SERVED, None, None)] * 2
    assert (after.label, after.marked, after.messages) == ("a", False, ())


@pytest.mark.parametrize("said", ["right", "wrong"])
def test_a_verdict_after_the_wait_is_expired(said: Verdict) -> None:
    account, decisions = settle(Account(), verdict(0, said, time=101), prediction(), now=101, waits=WAITS)
    assert states(decisions) == [(0, State.EXPIRED, None)]
    assert (account.label, account.marked) == (None, False)


def test_a_message_sent_again_after_a_wrong_is_no_label_that_takes_it_back() -> None:
    account, said = Account(), []
    sent = [
        incoming(0, "a", feedback_id="f"),
        verdict(1, "wrong", feedback_id="g"),
        incoming(2, "a", feedback_id="f"),
        verdict(3, "wrong", feedback_id="h"),
        incoming(4, "b"),
        verdict(5, "right", feedback_id="f"),
        verdict(6, "wrong", feedback_id="g"),
    ]
    for one in sent:
        account, decisions = settle(account, one, prediction(), now=0, waits=WAITS)
        said += [(d.state, account.marked) for d in decisions]
    assert said == [
        (State.TRAINED, False),
        (State.MARKED, True),
        (State.DUPLICATE, True),
        (State.DUPLICATE, True),
        (State.CORRECTED, False),
        (State.DUPLICATE, False),
        (State.DUPLICATE, False),
    ]


def test_an_account_that_was_stored_before_there_were_verdicts_is_read() -> None:
    stored = (
        b'{"prediction":null,"text":"mine","text_time":0,"waiting":[],"decided":{"0":3},"label":"a","messages":[["f","a"]],"forget_at":9}'
    )
    account = msgspec.json.decode(stored, type=Account)
    assert (account.label, account.marked, account.messages) == ("a", False, (("f", "a"),))


def scores(decision: Decision) -> bool:
    teaches_first = decision.text is not None and decision.corrects is None and not decision.marked
    return decision.denies or (teaches_first and decision.prediction is not None)


class Said(NamedTuple):
    """What became of a label: `taught` is the text it was learned with, `asked` when the prediction that it goes with was made."""

    at: tuple[int, int]
    states: tuple[State, ...]
    taught: str | None = None
    asked: int | None = None
    corrects: str | None = None
    label: str | None = None
    scores: bool = False


class Reference:
    """The rules once more, simply: every label and prediction of one event that ever came, and all of it decided anew at each question."""

    def __init__(self) -> None:
        self.lives: list[list[tuple[int, Incoming | Prediction]]] = [[]]

    def came(self, what: Incoming | Prediction, now: int) -> None:
        """All is forgotten `event_known` after the last thing that came: what comes then begins a new life."""
        if self.lives[-1] and now - self.lives[-1][-1][0] >= WAITS.event_known_ms:
            self.lives.append([])
        self.lives[-1].append((now, what))

    def labels(self) -> int:
        return sum(isinstance(what, Incoming) for life in self.lives for _, what in life)

    def forgotten(self, now: int) -> bool:
        life = self.lives[-1]
        return not any(isinstance(what, Incoming) for _, what in life) or now - life[-1][0] >= WAITS.event_known_ms

    def said(self, now: int) -> tuple[list[Said], list[Said]]:
        """Return the labels that wait, and those that are decided, in the order in which that happened."""
        waiting: list[Said] = []
        decided: list[Said] = []
        for life in self.lives:
            known = Known()
            for when, by, number in sorted(self.moments(life)):
                label = life[number][1]
                assert isinstance(label, Incoming)
                if when > now:
                    waiting.append(Said(place(label), (State.WAITING,), label=label.feedback.label))
                else:
                    decided.append(self.decision(life, number, by, known))
        return waiting, decided

    def moments(self, life: list[tuple[int, Incoming | Prediction]]) -> list[tuple[int, int, int]]:
        """Return for each label when it is decided: the time, the number of what decides it (-1: time itself), and its own number."""
        known = [n for n, (_, what) in enumerate(life) if isinstance(what, Prediction) or what.feedback.text is not None]
        moments = []
        for number, (came, label) in enumerate(life):
            if isinstance(label, Incoming):
                by = max(number, known[0]) if known else len(life)
                due = came + WAITS.label_wait_ms
                in_time = by < len(life) and (by == number or life[by][0] < due)
                moments.append((life[by][0], by, number) if in_time else (due, -1, number))
        return moments

    def decision(self, life: list[tuple[int, Incoming | Prediction]], number: int, by: int, known: Known) -> Said:
        label = life[number][1]
        assert isinstance(label, Incoming)
        feedback, before = label.feedback, (State.WAITING,) if by != number else ()
        if by < 0:
            return Said(place(label), (*before, State.ORPHAN), label=feedback.label)
        until_then = [what for _, what in life[: by + 1]]
        asked = next((what for what in until_then if isinstance(what, Prediction)), None)
        brought = next((what for what in until_then if isinstance(what, Incoming) and what.feedback.text is not None), None)
        served = asked.label if asked else None
        if feedback.verdict and served is None:
            return Said(place(label), (*before, State.REJECTED))
        says = feedback.label or ("not " if feedback.verdict == "wrong" else "") + (served or "")
        names = None if feedback.verdict == "wrong" else says
        since, text = (asked.predicted_at, asked.text) if asked else (brought.at.time, brought.feedback.text) if brought else (0, None)
        late = feedback.text is None and label.at.time > since + WAITS.label_wait_ms
        final, scores = known.hears(says, feedback.feedback_id, served, late=late)
        if final not in {State.TRAINED, State.CORRECTED, State.MARKED}:
            return Said(place(label), (*before, final), label=names)
        taught = None if final is State.MARKED else text
        stood = known.stood[-2] if final is not State.MARKED else known.stood[-1]
        return Said(
            place(label), (*before, final), taught, asked.predicted_at if asked else None, stood, names, scores=scores and asked is not None
        )


class Known:
    """What is known of one event while its labels are gone through: all that stood, and all that was said, the newest last."""

    def __init__(self) -> None:
        self.stood: list[str | None] = [None]
        self.counted: list[str] = []
        self.messages: list[tuple[str, str]] = []

    def hears(self, says: str, feedback_id: str | None, served: str | None, *, late: bool) -> tuple[State, bool]:
        """Return the state of what is said, and whether it is the first thing that is said of the event; `not x` denies x."""
        again = (feedback_id, says) in self.messages
        last = self.counted[-1] if self.counted else ""
        denies = says.startswith("not ")
        denied = last.startswith("not ") or self.stood[-1] not in (None, served)
        known = denied if denies else says == self.stood[-1]
        if late and not (again or known):
            return State.EXPIRED, False
        if feedback_id is not None:
            self.messages.append((feedback_id, says))
        if again or known:
            # The label that stands, said anew, ends a denial.
            self.counted += [says] if not again and not denies else []
            return State.DUPLICATE, False
        first = not self.counted
        self.counted.append(says)
        if denies:
            return State.MARKED, first
        self.stood.append(says)
        return State.TRAINED if len(self.stood) == 2 else State.CORRECTED, first


def place(label: Incoming) -> tuple[int, int]:
    return label.at.partition, label.at.offset


class Match:
    """What stands before the ledger: last label and first prediction of an event; all that comes gives a row once there is a label."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.label: Incoming | None = None
        self.prediction: Prediction | None = None
        self.rows: list[tuple[Incoming, Prediction | None]] = []
        self.forget_at = 0

    def take(self, what: Incoming | Prediction, now: int) -> list[tuple[Incoming, Prediction | None]]:
        """Return every row that there has been, the newest last."""
        if now >= self.forget_at:
            self.forget()
        self.forget_at = now + WAITS.event_known_ms
        if isinstance(what, Incoming):
            self.label = what
        else:
            self.prediction = self.prediction or what
        if self.label is not None:
            self.rows.append((self.label, self.prediction))
        return self.rows


VERDICTS: list[Verdict | None] = [None, None, None, "right", "wrong", "wrong"]


class LedgerMachine(RuleBasedStateMachine):
    """Drives one account as the operator does: rows of the match, in any order and any number of times, and its timer."""

    @initialize()
    def start(self) -> None:
        self.account: Account | None = None
        self.now = 0
        self.timer: int | None = None
        self.offsets = [0, 0, 0]
        self.match, self.reference = Match(), Reference()
        self.decisions: list[Decision] = []

    def come(self, what: Incoming | Prediction, data: st.DataObject) -> None:
        """Let it come, and old rows with it: some before the new one, some after, and the new one perhaps twice."""
        self.reference.came(what, self.now)
        rows = self.match.take(what, self.now)
        if not rows:
            return
        again = st.lists(st.sampled_from(rows[:-1]), max_size=2) if rows[:-1] else st.just([])
        for label, known in [*data.draw(again), rows[-1], *data.draw(again), *data.draw(st.lists(st.just(rows[-1]), max_size=1))]:
            self.account, decisions = settle(self.account or Account(), label, known, now=self.now, waits=WAITS)
            self.timer = self.account.due
            self.decisions += decisions

    @rule(
        label=st.sampled_from("abc"),
        said=st.sampled_from(VERDICTS),
        text=st.none() | st.sampled_from(["x", "y"]),
        feedback_id=st.none() | st.sampled_from("fg"),
        partition=st.integers(0, 2),
        gap=st.integers(0, 3),
        read_late=st.integers(-20, 250),
        data=st.data(),
    )
    def label_comes(
        self,
        label: str,
        said: Verdict | None,
        text: str | None,
        feedback_id: str | None,
        partition: int,
        gap: int,
        read_late: int,
        data: st.DataObject,
    ) -> None:
        self.offsets[partition] += 1 + gap
        time = max(0, self.now - read_late)
        at = Position(partition=partition, offset=self.offsets[partition], time=time)
        feedback = Feedback(event_id="e", label=label, text=text, feedback_id=feedback_id)
        if said is not None:
            feedback = Feedback(event_id="e", verdict=said, feedback_id=feedback_id)
        self.come(Incoming(feedback=feedback, at=at), data)

    @rule(text=st.sampled_from(["t", "u"]), label=st.sampled_from(["a", "a", "b", None]), early=st.integers(0, 250), data=st.data())
    def prediction_comes(self, text: str, label: str | None, early: int, data: st.DataObject) -> None:
        """The first one, or one of the same event sent again."""
        self.come(prediction(max(0, self.now - early), text, label), data)

    @rule(passed=st.one_of(st.integers(1, 120), st.sampled_from([99, 100, 900, 999, 1000, 1100])))
    def time_passes(self, passed: int) -> None:
        """Also with nothing coming in any more: timers alone go on."""
        until = self.now + passed
        while self.timer is not None and self.timer <= until:
            self.now, fired = max(self.now, self.timer), self.timer
            assert self.account is not None
            self.account, decisions = expire(self.account, now=self.now)
            self.timer = self.account.due if self.account is not None else None
            assert self.timer is None or self.timer > fired, "a timer that has fired must not fire for ever"
            self.decisions += decisions
        self.now = until

    @invariant()
    def every_label_is_in_exactly_one_state(self) -> None:
        now_in: dict[tuple[int, int], State] = {}
        for decision in self.decisions:
            at = place(decision.incoming)
            assert decision.previous == now_in.get(at), "each change starts from the state announced last"
            assert now_in.get(at) in (None, State.WAITING), "a final state never changes"
            now_in[at] = decision.state
        assert len(now_in) == self.reference.labels()

    @invariant()
    def all_is_as_the_reference_says(self) -> None:
        waiting, decided = self.reference.said(self.now)
        finals = [d for d in self.decisions if d.state is not State.WAITING]
        assert [
            Said(
                at=place(d.incoming),
                states=(d.state,) if d.previous is None else (d.previous, d.state),
                taught=d.text,
                asked=d.prediction.predicted_at if d.prediction else None,
                corrects=d.corrects,
                label=d.label,
                scores=scores(d),
            )
            for d in finals
        ] == decided
        known = {place(d.incoming) for d in finals}
        still = {place(d.incoming) for d in self.decisions} - known
        assert still == {said.at for said in waiting}

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        """Nothing stays of an event `event_known` after the last thing that came; only its undecided labels wait."""
        assert (self.account is None) == self.reference.forgotten(self.now)
        if self.account is not None:
            waiting, _ = self.reference.said(self.now)
            assert {place(w.incoming) for w in self.account.waiting} == {said.at for said in waiting}
            assert len(self.account.messages) <= self.reference.labels()
            assert self.account.due <= self.now + max(WAITS.event_known_ms, WAITS.label_wait_ms)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=300, stateful_step_count=40)
TestLedgerMachine.pytestmark = pytest.mark.unit  # type: ignore[attr-defined]  # pytest reads it from the class
