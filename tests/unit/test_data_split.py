"""`millrace data split`, `millrace test` and `millrace predict`: files in parts, and what a saved model says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_model.replica import Replica
from schemas.settings import Settings
from stack.cli import main
from stack.data_split import PARTS, By, assign
from stack.generator import generate
from store.labelled_files import Row, SourceError, read_rows

pytestmark = pytest.mark.unit

EVEN = (0.6, 0.2, 0.2)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def file_of(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("by", ["time", "random", "hash"])
def test_every_row_is_in_one_part_with_all_its_fields(by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"text": f"text {n}", "label": "ab"[n % 2], "ts": 1000 - n, "language": "en", "split": "old"} for n in range(200)
    ]
    path = file_of(tmp_path / "rows.jsonl", rows)
    assert main(["data", "split", str(path), "--by", by, "--parts", "0.6,0.2,0.2"]) == 0
    parts = {part: read(tmp_path / "rows-parts" / f"{part}.jsonl") for part in PARTS}
    assert sorted(row["text"] for rows in parts.values() for row in rows) == sorted(str(row["text"]) for row in rows)
    assert all(row == {**rows[1000 - row["ts"]], "split": part} for part, of_part in parts.items() for row in of_part)
    assert all(
        len(parts[part]) == pytest.approx(200 * share, abs=30 if by == "hash" else 0) for part, share in zip(PARTS, EVEN, strict=True)
    )
    if by == "time":
        assert max(row["ts"] for row in parts["train"]) < min(row["ts"] for row in parts["test"])
    assert "test.jsonl: " in capsys.readouterr().out


def test_a_file_without_times_is_in_the_order_of_time_and_one_with_some_is_refused() -> None:
    rows = [Row(f"text {n}") for n in range(10)]
    assert assign(rows, "time", EVEN, 0) == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    with pytest.raises(SourceError, match="1 of 11 rows have no ts"):
        assign([Row("x"), *[Row("y", ts=n) for n in range(10)]], "time", EVEN, 0)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=40), st.integers(0, 3))
def test_by_hash_equal_texts_are_in_one_part_whatever_else_there_is(texts: list[str], seed: int) -> None:
    by: By = "hash"
    together = assign([Row(text) for text in texts], by, EVEN, seed)
    assert together == [assign([Row(text)], by, EVEN, seed)[0] for text in texts]


@pytest.mark.parametrize("parts", ["1,0", "0.5,0.1,0.1", "-1,1,1", "0,0.5,0.5", "a,b,c", "nan,nan,nan"])
def test_shares_that_are_none_are_refused(parts: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["data", "split", str(tmp_path / "x.jsonl"), "--parts", parts])


@pytest.mark.parametrize("arguments", [["data", "split"], ["test", "--model", "none"], ["predict", "--model", "none"]])
def test_a_file_that_is_not_there_is_said(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, str(tmp_path / "none.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("millrace: ")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    replica = Replica.configured(Settings(model_memory_mib=1), "default")
    for row in generate(400):
        replica.model.learn_one(row.text, str(row.label))
    path = tmp_path / "model.safetensors"
    path.write_bytes(replica.snapshot())
    return path


def test_a_saved_model_is_scored_on_the_split_test(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": row.text, "label": row.label, "split": "test" if n % 4 else "train"} for n, row in enumerate(generate(200, seed=3))]
    path = file_of(tmp_path / "rows.jsonl", [*rows, {"text": "no label", "split": "test"}])
    assert main(["test", str(path), "--model", str(saved), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["labels"], scores["split"], scores["model"]) == (150, "test", {"line": "base", "seq": 0})
    assert 0.5 < scores["accuracy"] < 1
    assert {"macro_f1", "log_loss", "rows_per_second", "per_class"} <= scores.keys()
    assert main(["test", str(path), "--model", str(saved), "--split", "train"]) == 0
    assert "50 labels" in capsys.readouterr().out
    assert main(["test", str(path), "--model", str(saved), "--split", "other"]) == 2
    assert "no row of the split 'other' has a label" in capsys.readouterr().err


def test_a_saved_model_classifies_a_file(saved: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    texts = [row.text for row in generate(20)]
    path = file_of(tmp_path / "rows.jsonl", [{"text": text, "event_id": f"e{n}"} for n, text in enumerate(texts)] + [{"no": "text"}])
    assert main(["predict", str(path), "--model", str(saved), "--top", "2"]) == 0
    captured = capsysbinary.readouterr()
    answers = [json.loads(line) for line in captured.out.splitlines()]
    assert [(answer["event_id"], answer["text"]) for answer in answers] == [(f"e{n}", text) for n, text in enumerate(texts)]
    assert all(len(answer["proba"]) == 2 and next(iter(answer["proba"])) == answer["label"] for answer in answers)
    assert b"line 21: has no text" in captured.err
    output = tmp_path / "out.jsonl"
    assert main(["predict", str(path), "--model", str(saved), "--top", "2", "--output", str(output)]) == 0
    assert read(output) == answers
    assert all(isinstance(row, Row) for row in read_rows(output))


@pytest.mark.parametrize("over", ["rows.jsonl", "model.safetensors"])
def test_what_is_read_is_never_written_over(saved: Path, tmp_path: Path, over: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path / "rows.jsonl", [{"text": "a"}])
    before = path.read_bytes(), saved.read_bytes()
    assert main(["predict", str(path), "--model", str(saved), "--output", str(tmp_path / over)]) == 2
    assert "--output names" in capsys.readouterr().err
    assert (path.read_bytes(), saved.read_bytes()) == before


def test_a_damaged_model_is_refused_with_its_reason(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)
    path = file_of(tmp_path / "rows.jsonl", [{"text": "a", "label": "b"}])
    assert main(["test", str(path), "--model", str(saved)]) == 2
    assert "no model that can be used" in capsys.readouterr().err
