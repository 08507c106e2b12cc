"""The gate: what it compares, when a challenger passes, and the user's cases."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from batch_model.cases import CasesError, examine, read_cases
from batch_model.data import Taught
from batch_model.gate import compare, decide, mcnemar, pass_gate
from batch_model.rows import LabelledText
from online_model.models import TextModel, build
from schemas.manifest import Gate
from schemas.refresh_settings import RefreshSettings

pytestmark = pytest.mark.unit

WORDS = {"a": "apple anchor", "b": "banana boat", "c": "cherry cake"}


def labels(count: int, first: int = 1) -> list[Taught]:
    names = "abc"
    return [Taught(n, f"e{n}", LabelledText(f"{WORDS[names[n % 3]]} {n}", names[n % 3])) for n in range(first, first + count)]


def model(taught: list[Taught], shift: int = 0) -> TextModel:
    """A model that was taught these labels, or with a shift other ones."""
    made = build("softmax?memory_mib=1")
    for one in taught:
        wrong = chr(ord("a") + (ord(one.row.label) - ord("a") + shift) % 3)
        made.learn_one(one.row.text, wrong)
    return made


def judged(champion: TextModel, challenger: TextModel, taught: list[Taught], settings: RefreshSettings | None = None) -> Gate:
    return pass_gate(champion, "base", challenger, taught, [], settings or RefreshSettings())[0]


def test_a_better_challenger_passes_and_a_worse_one_does_not() -> None:
    good, bad, after = model(labels(300)), model(labels(300), shift=1), labels(30, first=301)
    gate = judged(bad, good, after)
    assert gate.passed, gate.reasons
    assert gate.only_challenger > 10 > gate.only_champion
    assert gate.p_value < 0.01
    assert gate.labels == 30 == gate.champion.labels
    refused = judged(model(labels(300)), model(labels(300), shift=1), after)
    assert not refused.passed
    assert refused.reasons[0].startswith("The challenger got")
    assert "only the champion" in refused.reasons[1]


def test_the_same_model_is_not_better_than_itself() -> None:
    gate = judged(model(labels(60)), model(labels(60)), labels(60, first=61))
    assert not gate.passed
    assert (gate.only_champion, gate.only_challenger, gate.p_value, gate.p_log_loss) == (0, 0, 1.0, 1.0)
    assert gate.champion == gate.challenger


def test_both_learn_the_labels_in_order_before_they_predict_the_next() -> None:
    one, two = model([]), model([])
    comparison = compare(one, two, labels(40))
    assert comparison.labels[0].champion is None is comparison.labels[0].challenger
    assert comparison.labels[-1].champion == comparison.labels[-1].true
    assert one.fingerprint() == two.fingerprint() == model(labels(40)).fingerprint()


def test_a_correction_teaches_and_scores_nothing() -> None:
    (first,), one = labels(1), model([])
    correction = Taught(2, first.event, LabelledText(first.row.text, "c"), correction=True)
    comparison = compare(one, model([]), [first, correction])
    assert len(comparison.labels) == 1 == comparison.champion.labels
    assert one.classes == ["b", "c"]


def test_a_gain_below_the_margin_or_by_chance_is_not_enough() -> None:
    better, worse, after = model(labels(300)), model(labels(300), shift=1), labels(30, first=301)
    assert not judged(worse, better, after, RefreshSettings(gate_margin=0.99)).passed
    few = judged(model(labels(300), shift=1), model(labels(300)), after[:1])
    assert few.challenger.accuracy > few.champion.accuracy
    assert not few.passed
    assert "p = 0.5 by chance" in few.reasons[0]


def test_surer_answers_support_a_gain_that_counting_alone_does_not() -> None:
    comparison = compare(model(labels(30), shift=1), model(labels(30)), labels(60, first=31))
    labelled = [msgspec.structs.replace(one, champion=one.true, challenger=one.true) for one in comparison.labels]
    labelled[:2] = [msgspec.structs.replace(one, champion="?") for one in labelled[:2]]
    losses = ([0.5 + place % 3 / 10 for place in range(60)], [0.4] * 60)
    gate = decide(comparison.__class__(labelled, comparison.champion, comparison.challenger, losses), "base", [], RefreshSettings())
    assert gate.p_value == 0.25
    assert gate.p_log_loss < 1e-6
    assert gate.passed, gate.reasons
    level = (losses[0], losses[0][::-1])
    gate = decide(comparison.__class__(labelled, comparison.champion, comparison.challenger, level), "base", [], RefreshSettings())
    assert not gate.passed
    assert "neither is within the 0.025" in gate.reasons[0]


def test_no_class_may_fall_though_the_whole_is_better() -> None:
    comparison = compare(model(labels(300), shift=1), model(labels(300)), labels(90, first=301))
    fallen = comparison.champion.per_class | {"a": comparison.champion.per_class["a"].__class__(precision=1, recall=1, f1=1.0, support=30)}
    worse = comparison.challenger.per_class | {"a": comparison.champion.per_class["a"].__class__(precision=1, recall=0, f1=0.0, support=30)}
    one = comparison.champion.__class__(labels=90, accuracy=0.1, macro_f1=0.1, log_loss=1.0, per_class=fallen)
    two = comparison.challenger.__class__(labels=90, accuracy=0.9, macro_f1=0.9, log_loss=0.1, per_class=worse)
    lost = [
        msgspec.structs.replace(said, champion="a", challenger="b")
        if said.true == "a"
        else msgspec.structs.replace(said, champion="?", challenger=said.true)
        for said in comparison.labels
    ]
    fell = comparison.__class__(lost, one, two, comparison.losses)
    gate = decide(fell, "base", [], RefreshSettings(gate_class_support=30))
    assert not gate.passed
    assert gate.reasons[0].startswith("The F1 of class 'a' falls from 100.00 % to 0.00 % (30 labels, p = ")
    assert gate.reasons[0].endswith("by more than 5.00 points.")
    assert gate.fallen == ["a"]
    assert "The F1 of class" not in "".join(decide(fell, "base", [], RefreshSettings(gate_class_support=31)).reasons)


def test_a_class_of_few_labels_may_fall_by_as_much_as_chance_often_does() -> None:
    comparison = compare(model(labels(300), shift=1), model(labels(300)), labels(90, first=301))
    one, two = (scores.per_class["a"] for scores in (comparison.champion, comparison.challenger))
    champion = msgspec.structs.replace(comparison.champion, per_class={"a": msgspec.structs.replace(one, f1=0.90)})
    challenger = msgspec.structs.replace(comparison.challenger, per_class={"a": msgspec.structs.replace(two, f1=0.80)})
    both = [msgspec.structs.replace(said, champion=said.true, challenger=said.true) for said in comparison.labels]
    of_it = [place for place, said in enumerate(both) if said.true == "a"]

    def gate(times: int) -> Gate:
        lost = [msgspec.structs.replace(said, challenger="?") if place in of_it[:times] else said for place, said in enumerate(both)]
        return decide(comparison.__class__(lost, champion, challenger, comparison.losses), "base", [], RefreshSettings())

    assert not any("class 'a'" in reason for reason in gate(3).reasons)  # p = 1/8
    assert any("class 'a'" in reason for reason in gate(4).reasons)  # p = 1/16


@pytest.mark.parametrize(("champion", "challenger", "p"), [(0, 0, 1.0), (0, 5, 1 / 32), (5, 0, 1.0), (1, 1, 0.75), (2, 3, 0.5)])
def test_mcnemars_exact_test(champion: int, challenger: int, p: float) -> None:
    assert mcnemar(champion, challenger) == pytest.approx(p)


def cases(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_behavioural_cases_must_be_met_too(tmp_path: Path) -> None:
    path = cases(
        tmp_path / "cases.jsonl",
        {"text": "apple anchor", "required": "a"},
        "",
        {"text": "banana boat", "forbidden": "b", "comment": "never"},
        {"text": "cherry cake", "forbidden": "a"},
    )
    results = examine(model(labels(300)), read_cases(path))
    assert [one.passed for one in results] == [True, False, True]
    gate, _ = pass_gate(model(labels(300), shift=1), "base", model(labels(300)), labels(30, first=301), read_cases(path), RefreshSettings())
    assert not gate.passed
    assert gate.reasons[0] == "Behavioural case 'banana boat': 'b' is forbidden, and it said 'b'."
    assert [one.passed for one in gate.cases] == [True, False, True]


def test_everything_that_is_wrong_in_a_file_of_cases_is_said_at_once(tmp_path: Path) -> None:
    path = cases(
        tmp_path / "cases.jsonl",
        "{",
        {"text": "x"},
        {"text": "x", "required": "a", "forbidden": "b"},
        {"text": "x", "required": "a", "wanted": 1},
        {"text": " ", "required": "a"},
        {"text": "x", "required": ""},
        {"text": "y", "required": "a"},
        {"text": "y", "required": "b"},
        {"text": "z", "required": "a"},
        {"text": "z", "forbidden": "a"},
        [],
    )
    with pytest.raises(CasesError) as caught:
        read_cases(path)
    said = str(caught.value).splitlines()
    assert [line.split("line ")[1].split(":")[0] for line in said[:7]] == ["1", "2", "3", "4", "5", "6", "11"]
    assert "'y' cannot be a and b" in said[7]
    assert "'z' is both required and forbidden to be a" in said[8]


def test_a_file_of_cases_that_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CasesError, match="cannot be read"):
        read_cases(tmp_path / "none")
    with pytest.raises(CasesError, match="holds no case"):
        read_cases(cases(tmp_path / "empty.jsonl", ""))
