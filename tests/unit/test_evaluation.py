"""Offline evaluation: its figures against River's metrics and a loop of the test's own."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from river import metrics

from online_model.memory import memory_bytes
from online_model.models import build
from online_model.replica import Replica
from schemas.settings import Settings
from stack.evaluation import Run, evaluate, learning_curve
from stack.evaluation_data import Choice, Data, load
from stack.generator import generate
from store.labelled_files import BadLine, Row, SourceError

pytestmark = pytest.mark.unit

OWN = "softmax?memory_mib=1"
NB = "river:naive_bayes.MultinomialNB"


def data(rows: int = 400, *, test: int = 0, choice: Choice | None = None) -> Data:
    made = list(generate(rows + test, seed=4))
    choice = choice or Choice()
    draw = np.random.default_rng(choice.seed).random(rows)
    return Data("made", made[:rows], made[rows:], [bool(d < choice.label_fraction) for d in draw])


def run(of: Data, model: str = OWN, *, delay: int = 0) -> Run:
    return evaluate(of, model, Settings(model_memory_mib=1), label_delay=delay, label_fraction=1.0)


def reference(of: Data, model: str, delay: int) -> tuple[dict[str, float], Any]:
    """Predict and learn as a timeline: at each event first its prediction, then the labels of the events `delay` before it."""
    taught = build(model, memory_mib=1)
    kinds: dict[str, Any] = {"accuracy": metrics.Accuracy, "macro_f1": metrics.MacroF1, "log_loss": metrics.CrossEntropy}
    scores = {name: kind() for name, kind in kinds.items()}
    said: list[dict[str, float]] = []
    for i in range(len(of.train) + delay):
        if i < len(of.train):
            said.append(taught.predict_proba_one(of.train[i].text))
        past = i - delay
        if past >= 0 and of.taken[past]:
            label, proba = of.train[past].label or "", said[past]
            # A class that the model has not seen has no probability: that is clipped, here as there.
            scores["log_loss"].update(label, {label: proba.get(label, 0.0) or 1e-7})
            scores["accuracy"].update(label, max(proba, key=proba.__getitem__, default=None))
            scores["macro_f1"].update(label, max(proba, key=proba.__getitem__, default=None))
            taught.learn_one(of.train[past].text, label)
    return {name: metric.get() for name, metric in scores.items()}, taught


@pytest.mark.parametrize("model", [OWN, NB])
@pytest.mark.parametrize("delay", [0, 1, 7, 1000])
def test_the_scores_are_rivers_on_a_loop_of_its_own(model: str, delay: int) -> None:
    of = data(choice=Choice(label_fraction=0.8))
    found = run(of, model, delay=delay).report
    expected, taught = reference(of, model, delay)
    assert found.prequential.labels == sum(of.taken)
    assert found.prequential.accuracy == pytest.approx(expected["accuracy"], abs=1e-6)
    assert found.prequential.log_loss == pytest.approx(expected["log_loss"], abs=2e-5)
    if delay < 1000:
        # River counts the prediction of nothing as a class; here it is a miss of the class that was true.
        assert found.prequential.macro_f1 == pytest.approx(expected["macro_f1"] * (found.classes + 1) / found.classes, abs=1e-6)
    assert found.classes == len(taught.classes)
    assert found.specification == taught.specification


def test_labels_that_come_after_all_events_score_predictions_of_nothing() -> None:
    found = run(data(50), delay=50).report
    assert (found.prequential.accuracy, found.prequential.macro_f1, found.prequential.ece) == (0.0, 0.0, 0.0)
    assert found.prequential.log_loss == pytest.approx(-np.log(1e-7))
    assert found.classes > 1


def test_the_test_part_is_scored_by_the_model_as_it_is_after_the_pass() -> None:
    of = data(300, test=100)
    found = run(of, delay=5)
    _, taught = reference(of, OWN, 5)
    tops = [max((p := taught.predict_proba_one(row.text)), key=p.__getitem__) for row in of.test]
    assert found.report.test is not None
    assert found.report.test.labels == 100
    assert found.report.test.accuracy == pytest.approx(np.mean([top == row.label for top, row in zip(tops, of.test, strict=True)]))
    assert len(found.outcomes.true) == 300, "what is tested on belongs to no curve"
    assert run(data(300)).report.test is None


def test_the_same_twice_but_for_the_clock() -> None:
    first, second = (msgspec.structs.replace(run(data(200)).report, predict_per_second=0, learn_per_second=0) for _ in range(2))
    assert first == second


def test_the_curve_counts_over_all_labels_and_over_the_last_ones() -> None:
    correct = np.random.default_rng(1).random(5000) < 0.7
    curve = learning_curve(correct)
    assert len(curve) == 100
    for point in curve:
        assert point.accuracy == pytest.approx(correct[: point.labels].mean(), abs=1e-6)
        assert point.recent == pytest.approx(correct[max(0, point.labels - 250) : point.labels].mean(), abs=1e-6)
    assert curve[-1].labels == 5000
    assert [p.labels for p in learning_curve(correct[:3])] == [1, 2, 3]


def test_the_rates_are_of_the_model_alone_and_the_memory_of_all_that_it_holds() -> None:
    found = run(data(300)).report
    assert found.predict_per_second > found.learn_per_second / 100 > 0
    assert 0.5 < found.memory_mib < 1.1, "its tables fill what the setting gives them, as far as powers of two go"


def test_the_memory_of_a_model_of_river_is_what_the_interpreter_allocates_for_it() -> None:
    rows = list(generate(1500, seed=1))
    build(NB).learn_one("what is imported by the way", "x")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        model = build(NB)
        for row in rows:
            model.learn_one(row.text, row.label or "")
        allocated = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert memory_bytes(model) == pytest.approx(allocated, rel=0.05)


def test_a_file_with_splits_is_learned_and_tested_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [{"text": f"t{n}", "label": "ab"[n % 2], "split": split} for n, split in enumerate(["train"] * 6 + ["test"] * 3 + ["dev"])]
    rows += [
        {"text": "no label", "split": "train"},
        {"text": "no label", "split": "test"},
        {"label": "no text"},
        {"text": "x", "label": "a"},
    ]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    told: list[BadLine] = []
    of = load(str(path), Choice(), on_skip=told.append)
    assert [row.text for row in of.train] == [f"t{n}" for n in range(6)] + ["no label"]
    assert [row.text for row in of.test] == ["t6", "t7", "t8"]
    assert of.taken == [True] * 6 + [False]
    assert told == [BadLine(13, "has no text")]
    assert [line.removeprefix(f"{path}: ") for line in of.left_out] == [
        "1 lines cannot be read",
        "2 rows have no label: they are neither learned nor scored",
        "2 rows are of no split `train` or `test`",
    ]


def test_a_file_without_splits_is_learned_whole() -> None:
    of = load("generated", Choice(events=500, label_fraction=0.3, seed=2), on_skip=lambda _: None)
    assert (len(of.train), of.test) == (500, [])
    assert of.train == list(generate(500, seed=2))
    assert 110 < sum(of.taken) < 190
    assert of == load("generated", Choice(events=500, label_fraction=0.3, seed=2), on_skip=lambda _: None)
    assert of.taken != load("generated", Choice(events=500, label_fraction=0.3, seed=3), on_skip=lambda _: None).taken


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "the file holds no rows"),
        ([{"text": "a"}], "no label is left to learn: 1 rows, 0 of them labelled"),
        ([{"text": "a", "label": "x", "split": "test"}], "no label is left to learn: 0 rows of the split train"),
    ],
)
def test_a_file_in_which_nothing_can_be_learned_is_refused(tmp_path: Path, lines: list[dict[str, str]], reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    with pytest.raises(SourceError, match=reason):
        load(str(path), Choice(), on_skip=lambda _: None)


def test_what_is_evaluated_is_the_step_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[int] = []
    step = Replica.apply

    def noted(replica: Replica, entry: Any) -> bool:
        applied.append(entry.seq)
        return step(replica, entry)

    monkeypatch.setattr(Replica, "apply", noted)
    run(Data("x", [Row("a", "x"), Row("b", "y"), Row("c", "x")], [], [True, False, True]))
    assert applied == [1, 2]


def test_a_drift_raises_an_alarm_where_it_is_and_none_where_there_is_none() -> None:
    """Two classes change places in the middle, so that the model errs until it has learned it."""
    draw = np.random.default_rng(7).random(2400)
    rows = [
        Row(f"{'left' if d < 0.5 else 'right'} and {int(d * 9999) % 50}", "ab"[int((d < 0.5) ^ (n >= 1200))]) for n, d in enumerate(draw)
    ]
    of = Data("x", rows, [], [True] * len(rows))
    alarms = run(of).report.alarms
    assert alarms
    assert 1200 < alarms[0].position < 1400
    assert "errors have risen" in alarms[0].message
    assert not run(Data("x", rows[:1200], [], [True] * 1200)).report.alarms
    silent = evaluate(of, OWN, Settings(model_memory_mib=1, drift_detector="none"), label_delay=0, label_fraction=1.0)
    assert not silent.report.alarms
