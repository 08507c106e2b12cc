"""Training data: what stands for an event, windows, fingerprints, splits, files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_model.data import DataError, Taught, Window, dataset, fingerprint, held_out, lines, standing, windowed
from batch_model.file_data import from_file, read_file
from batch_model.log_data import LogLabels, choose_cut, from_log
from batch_model.rows import LabelledText
from schemas.refresh_settings import RefreshSettings
from store.labelled_files import BadLine

pytestmark = pytest.mark.unit


def taught(seq: int, event: str, label: str, text: str = "", time: int = 0) -> Taught:
    return Taught(seq, event, LabelledText(text or f"text of {event}", label, 1.0, time or seq))


def labels(count: int) -> LogLabels:
    return LogLabels("default", 1, 2 * count, [taught(2 * n, f"e{n}", "ab"[n % 2]) for n in range(1, count + 1)])


def test_the_last_of_several_labels_stands_where_it_was_learned() -> None:
    rows = standing([taught(1, "e", "a"), taught(2, "f", "a"), taught(3, "e", "b"), taught(4, "e", "b"), taught(5, "f", "a")])
    assert [(one.seq, one.event, one.row.label) for one in rows] == [(2, "f", "a"), (3, "e", "b")]


def test_an_id_that_came_back_with_another_text_is_another_event() -> None:
    assert len(standing([taught(1, "e", "a", "one"), taught(2, "e", "a", "two")])) == 2


@given(st.lists(st.tuples(st.sampled_from("efgh"), st.sampled_from("ab")), max_size=30))
def test_what_stands_is_one_label_an_event_the_last_that_differed(given_labels: list[tuple[str, str]]) -> None:
    rows = standing([taught(n, event, label) for n, (event, label) in enumerate(given_labels, 1)])
    assert {one.event: one.row.label for one in rows} == dict(given_labels)
    assert len({one.event for one in rows}) == len(rows)
    assert [one.seq for one in rows] == sorted(one.seq for one in rows)


def test_windows_by_count_and_by_time() -> None:
    rows = [taught(n, f"e{n}", "a", time=1000 * n) for n in range(1, 11)]
    assert [one.seq for one in windowed(rows, Window(labels=3))] == [8, 9, 10]
    assert [one.seq for one in windowed(rows, Window(ms=2000))] == [9, 10]
    assert [one.seq for one in windowed(rows, Window(labels=1, ms=5000))] == [10]
    assert windowed(rows, Window()) == rows
    assert windowed([], Window(labels=3, ms=3)) == []


def test_the_fingerprint_is_the_checksum_of_the_rows_as_a_file_and_sees_every_change() -> None:
    rows = [LabelledText("grüße", "a", 1.0, 5), LabelledText("b", "b", 2.5, 6)]
    assert fingerprint(rows) == hashlib.sha256(b"".join(lines(rows))).hexdigest()
    assert fingerprint(rows) == fingerprint([LabelledText("grüße", "a", 1, 5), LabelledText("b", "b", 2.5, 6)])
    others = [
        rows[::-1],
        rows[:1],
        [LabelledText("grüße", "b", 1.0, 5), rows[1]],
        [LabelledText("grüße", "a", 1.0, 4), rows[1]],
        [LabelledText("grüße", "a", 1.5, 5), rows[1]],
    ]
    assert len({fingerprint(other) for other in [rows, *others]}) == 6


def test_the_newest_labels_are_held_out_and_the_rest_is_trained_on() -> None:
    log = labels(1000)
    cut = choose_cut(log, RefreshSettings(gate_least_labels=50, gate_share=0.1))
    assert len(log.after(cut)) == 100
    data = from_log(log, cut, Window())
    assert (data.spec.rows, data.spec.first_seq, data.spec.cut_seq, data.spec.classes) == (900, 1, cut, 2)
    assert data.seqs == [one.seq for one in log.up_to(cut)]
    assert max(data.seqs) <= cut < log.after(cut)[0].seq


def test_too_few_labels_are_refused_in_words() -> None:
    with pytest.raises(DataError, match=r"399 labels are too few .* 200 .*GATE_LEAST_LABELS"):
        choose_cut(labels(399), RefreshSettings(gate_least_labels=200))
    assert held_out(400, least=200, share=0.1) == 200
    with pytest.raises(DataError, match="name 1 classes"):
        from_log(LogLabels("default", 1, 2, [taught(1, "e", "a"), taught(2, "f", "a")]), 2, Window())


def test_the_validation_part_is_the_newest_and_neither_part_is_empty() -> None:
    data = dataset([taught(n, f"e{n}", "a") for n in range(100)], source="x", window=Window())
    assert data.newest(0.1) == 90
    two = dataset([taught(1, "e", "a"), taught(2, "f", "b")], source="x", window=Window())
    assert [two.newest(share) for share in (0.01, 0.5, 0.99)] == [1, 1, 1]
    with pytest.raises(DataError, match="too few"):
        dataset([], source="x", window=Window()).newest(0.1)


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_file_by_its_splits_corrections_times_and_what_is_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path / "rows.jsonl",
        [
            {"text": "late", "label": "a", "split": "train", "ts": 30},
            {"text": "early", "label": "b", "split": "train", "ts": 10, "id": 7, "weight": 2},
            {"text": "early", "label": "a", "split": "train", "ts": 20, "id": 7},
            {"text": "tested", "label": "a", "split": "test"},
            {"text": "no label", "split": "train"},
            {"text": "elsewhere", "label": "a", "split": "dev"},
            {"text": "heavy", "label": "a", "split": "train", "weight": -1},
            {"text": "b", "label": "b", "split": "train", "ts": 5},
        ],
    )
    skipped: list[BadLine] = []
    rows = read_file(path, on_skip=skipped.append)
    data = from_file(rows, Window())
    assert [(row.text, row.label, row.time) for row in data.rows] == [("b", "b", 5), ("early", "a", 20), ("late", "a", 30)]
    assert [row.text for row in rows.test] == ["tested"]
    assert [str(line) for line in skipped] == ["line 7: its weight is none (above 0, at most 1000): -1"]
    assert [line.partition(": ")[2] for line in rows.left_out] == [
        "1 lines cannot be read", "1 rows have no label", "1 rows are of no split `train` or `test`",
    ]  # fmt: skip


def test_a_file_without_splits_is_all_for_training(tmp_path: Path) -> None:
    rows = read_file(written(tmp_path / "rows.jsonl", [{"text": "a", "label": "a"}, {"text": "a", "label": "b"}]), on_skip=print)
    assert len(from_file(rows, Window()).rows) == 2
    assert rows.test == [] == rows.left_out


def test_a_file_that_was_written_from_a_data_set_gives_the_same_rows(tmp_path: Path) -> None:
    data = from_log(labels(20), 40, Window(labels=7))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(lines(data.rows)))
    assert from_file(read_file(path, on_skip=print), Window()).spec.fingerprint == data.spec.fingerprint
