import functools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online_model.replica import LogGap, Replica
from schemas.log import AnyLogEntry, LabelEntry, SnapshotEntry, VerdictEntry
from schemas.records import FeedbackRef, ModelVersion, Position, Served

pytestmark = pytest.mark.unit

UNKNOWN = Served(label=None, proba={}, classes=0, model=ModelVersion(line="base", seq=0))

lessons = st.lists(
    st.tuples(st.text(max_size=20) | st.sampled_from(["good day", "bad day"]), st.integers(0, 20).map(str), st.sampled_from([1.0, 0.3])),
    min_size=1,
    max_size=30,
)
Lesson = tuple[str, str, float]


def label(
    seq: int, text: str = "good day", name: str = "a", *, task: str = "t", weight: float = 1.0, served: Served | None = UNKNOWN
) -> LabelEntry:
    return LabelEntry(
        seq=seq,
        task=task,
        time=1000 + seq,
        event_id=str(seq),
        text=text,
        meta={},
        label=name,
        weight=weight,
        served=served,
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


def wrong(seq: int, served: Served, *, weight: float = 1.0) -> VerdictEntry:
    ref = FeedbackRef(at=Position(partition=0, offset=seq))
    return VerdictEntry(seq=seq, task="t", time=1000 + seq, event_id=str(seq), weight=weight, served=served, feedback=ref)


def announcement(seq: int) -> SnapshotEntry:
    return SnapshotEntry(seq=seq, task="t", time=9, at_seq=seq - 1, line="base", address="t/x", sha256="00", size_bytes=1)


def replica() -> Replica:
    return Replica("t", memory_mib=1, quality_window=5)


def log_of(taught: list[Lesson]) -> list[AnyLogEntry]:
    """A log as a learner writes it: each label with the prediction served before, some denied, a snapshot at every fifth place."""
    learner = replica()
    log: list[AnyLogEntry] = []
    for text, name, weight in taught:
        if len(log) % 5 == 4:
            log.append(announcement(len(log) + 1))
            learner.apply(log[-1])
        served = learner.predict(text, top=3)
        if served.label is not None and len(log) % 3 == 1:
            log.append(wrong(len(log) + 1, served, weight=weight))
            learner.apply(log[-1])
        log.append(label(len(log) + 1, text, name, weight=weight, served=served))
        learner.apply(log[-1])
    return log


@settings(deadline=None)
@given(lessons, st.data())
def test_snapshot_and_the_log_after_it_are_the_model(taught: list[Lesson], data: st.DataObject) -> None:
    log = log_of(taught)
    straight = replica()
    for entry in log:
        assert straight.apply(entry)
    first, second = sorted(data.draw(st.tuples(st.integers(0, len(log)), st.integers(0, len(log)))))
    resumed = replica()
    for entry in log[:first]:
        resumed.apply(entry)
    resumed = Replica.from_snapshot(resumed.snapshot())
    for entry in log[:second]:  # those before the cut once more: they are ignored
        assert resumed.apply(entry) is (entry.seq > first)
    resumed = Replica.from_snapshot(resumed.snapshot())
    for entry in log[second:]:
        resumed.apply(entry)
    assert resumed.fingerprint() == straight.fingerprint()
    assert resumed.quality == straight.quality
    assert (resumed.seq, resumed.updated_at, resumed.line, resumed.task) == (len(log), straight.updated_at, "base", "t")
    assert resumed.snapshot() == straight.snapshot()
    assert resumed.predict("good day", top=3) == straight.predict("good day", top=3)


def long_log(model: str) -> list[AnyLogEntry]:
    """A log in which classes keep appearing, through six capacities, with weights and corrections."""
    log: list[AnyLogEntry] = []
    for seq in range(1, 131):
        name = f"class {seq // 2 if seq % 3 else seq // 9}"
        entry = label(seq, f"Text {seq % 7} of {name} สวัสดี #{seq % 5} {seq * seq % 31}", name, weight=(1.0, 0.3, 1000.0)[seq % 11 % 3])
        log.append(msgspec.structs.replace(entry, corrects="class 1") if seq % 10 == 9 else entry)
    return served_by(model, log)


def served_by(model: str, log: list[AnyLogEntry]) -> list[AnyLogEntry]:
    learner = Replica("t", model=model, memory_mib=1, quality_window=5)
    found: list[AnyLogEntry] = []
    for entry in log:
        assert isinstance(entry, LabelEntry)
        found.append(msgspec.structs.replace(entry, served=learner.predict(entry.text, top=3)))
        learner.apply(found[-1])
    return found


@functools.cache
def expected_of(model: str) -> tuple[list[AnyLogEntry], bytes]:
    straight = Replica("t", model=model, memory_mib=1, quality_window=5)
    for entry in long_log(model):
        straight.apply(entry)
    assert len(straight.model.classes) > 64
    return long_log(model), straight.snapshot()


@pytest.mark.parametrize("model", ["softmax", "softmax?balance=0.7&learning_rate=0.5"])
@given(cuts=st.sets(st.integers(0, 130), max_size=4))
def test_a_model_whose_classes_grow_is_the_same_after_any_cuts(model: str, cuts: set[int]) -> None:
    log, expected = expected_of(model)
    resumed = Replica("t", model=model, memory_mib=1, quality_window=5)
    for entry in log:
        if resumed.seq in cuts:
            resumed = Replica.from_snapshot(resumed.snapshot())
        resumed.apply(entry)
    assert resumed.snapshot() == expected


def test_a_gap_in_the_log_is_refused_and_changes_nothing() -> None:
    model = replica()
    model.apply(label(1))
    before = model.fingerprint()
    with pytest.raises(LogGap) as caught:
        model.apply(label(3))
    assert (caught.value.expected, caught.value.got) == (2, 3)
    assert (model.seq, model.fingerprint()) == (1, before)


def test_an_entry_is_applied_once() -> None:
    model = replica()
    assert model.apply(label(1))
    before = model.snapshot()
    assert not model.apply(label(1, "other", "b"))
    assert model.snapshot() == before


def test_an_entry_of_another_task_is_refused() -> None:
    with pytest.raises(ValueError, match="task 'other'"):
        replica().apply(label(1, task="other"))


def test_a_snapshot_entry_moves_only_the_seq() -> None:
    model = replica()
    model.apply(label(1))
    before = (model.fingerprint(), model.updated_at, model.quality.to_dict())
    assert model.apply(announcement(2))
    assert model.seq == 2
    assert (model.fingerprint(), model.updated_at, model.quality.to_dict()) == before


def test_what_was_served_is_scored_not_what_the_model_says_now() -> None:
    model = replica()
    for seq in (1, 2, 3):
        model.apply(label(seq, served=UNKNOWN))
    assert model.predict("good day", top=1).label == "a"
    assert model.quality.overall().accuracy == 0.0


def test_a_label_on_which_nobody_had_asked_the_model_teaches_and_scores_nothing() -> None:
    asked, unasked = replica(), replica()
    asked.apply(label(1, served=UNKNOWN))
    assert unasked.apply(label(1, served=None))
    assert unasked.fingerprint() == asked.fingerprint()
    assert (unasked.updated_at, unasked.quality.overall().labels, asked.quality.overall().labels) == (1001, 0, 1)
    assert Replica.from_snapshot(unasked.snapshot()).quality == unasked.quality


def test_a_wrong_scores_an_error_and_teaches_nothing() -> None:
    model = replica()
    for seq, name in enumerate("abab", start=1):
        model.apply(label(seq, f"text of {name}", name))
    before = (model.fingerprint(), model.updated_at)
    served = model.predict("text of a", top=2)
    assert model.apply(wrong(5, served))
    assert (model.seq, model.fingerprint(), model.updated_at) == (5, *before)
    assert (model.quality.overall().labels, model.quality.overall().per_class["a"].precision) == (5, 0.0)
    assert model.drift.stored().outcomes == "11111"
    resumed = Replica.from_snapshot(model.snapshot())
    assert (resumed.quality, resumed.drift, resumed.seq) == (model.quality, model.drift, 5)
    assert not model.apply(wrong(5, served)), "an entry is applied once"


def test_a_label_after_a_wrong_teaches_and_scores_nothing() -> None:
    one, two = replica(), replica()
    for model in (one, two):
        model.apply(label(1, served=UNKNOWN))
    one.apply(label(2, "text", "b", served=one.predict("text", top=1)))
    two.apply(msgspec.structs.replace(label(2, "text", "b", served=two.predict("text", top=1)), marked=True))
    assert one.fingerprint() == two.fingerprint()
    assert (one.quality.labels, two.quality.labels) == (2, 1)


def test_wrongs_raise_a_drift_alarm_as_errors_do() -> None:
    model = Replica("t", memory_mib=1)
    served = Served(label="a", proba={"a": 0.5}, classes=2, model=ModelVersion(line="base", seq=0))
    for seq in range(1, 301):
        model.apply(label(seq, served=served))
    for seq in range(301, 361):
        model.apply(wrong(seq, served))
    assert model.drift.alarms == 1


def test_a_prediction_names_its_model_and_lists_the_most_probable_first() -> None:
    model = replica()
    assert model.predict("x", top=5) == UNKNOWN
    for seq, name in enumerate("abcabca", start=1):
        model.apply(label(seq, f"text of {name}", name))
    served = model.predict("text of b", top=2)
    assert served.model == ModelVersion(line="base", seq=7)
    assert (served.label, len(served.proba), served.classes) == ("b", 2, 3)
    assert next(iter(served.proba)) == "b"
    assert list(served.proba.values()) == sorted(served.proba.values(), reverse=True)
    assert all(p == round(p, 6) for p in served.proba.values())
    full = model.model.predict_proba_one("text of b")
    assert served.proba["b"] == pytest.approx(full["b"], abs=5e-7)


def test_an_explanation_is_by_the_line_that_predicted_if_it_is_held_and_of_a_label_that_is_known() -> None:
    model = replica()
    assert model.explain("good day") is None
    for seq, (text, name) in enumerate([("good day", "hello"), ("see you", "bye"), ("good evening", "hello")], 1):
        model.apply(label(seq, text, name))
    found = model.explain("good day", "hello", line="r1-gone")
    assert found is not None
    assert (found[0], found[1].label) == (ModelVersion(line="base", seq=3), "hello")
    assert found == model.explain("good day")
    assert model.explain("good day", "never learned") is None
