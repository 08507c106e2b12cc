import gzip
import json
from pathlib import Path

import pytest

from store.labelled_files import MAX_TEXT_BYTES, BadLine, Row, SourceError, read_rows

pytestmark = pytest.mark.unit


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "A.JSONL"])
def test_json_lines_in_order_with_other_fields_as_meta(tmp_path: Path, name: str) -> None:
    lines = [
        {"text": "one", "label": "x", "split": "train", "n": 3, "tags": ["a"], "deep": {"b": 1}, "ok": True, "none": None},
        {"text": "zwei", "ts": "2015-02-16T23:36:00-08:00"},
        {"text": "สาม", "label": 1, "ts": 1424158560000},
    ]
    data = "\n\n".join(json.dumps(line) for line in lines).encode()
    assert list(read_rows(write(tmp_path / name, data))) == [
        Row("one", "x", None, {"split": "train", "n": 3, "ok": True, "none": None}),
        Row("zwei", None, 1424158560000, {}),
        Row("สาม", "1", 1424158560000, {}),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_with_quotes_and_a_byte_order_mark(tmp_path: Path, name: str) -> None:
    data = '\ufefflabel,text,airline\r\nx,"one, ""two""\nthree",Delta\r\n,four,\r\n'.encode()
    assert list(read_rows(write(tmp_path / name, data))) == [Row('one, "two"\nthree', "x", None, {"airline": "Delta"}), Row("four")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"label": "x"}', "has no text"),
        (b'{"text": null}', "has no text"),
        (b'{"text": 5}', "its text is of type int"),
        (b'{"text": "a", "label": ["x"]}', "its label is of type list"),
        (b'{"text": "a", "ts": "yesterday"}', "its ts is no time"),
        (b'{"text": "a", "ts": -1}', "its ts is no time"),
        (b'{"text": "a", "label": "' + b"x" * 300 + b'"}', "Expected `str` of length <= 256"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\\ud83d"}', "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"text": "' + b"x" * (MAX_TEXT_BYTES + 1) + b'"}', "its text has more than"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b'{"text": "good"}'
    rows = list(read_rows(write(tmp_path / "a.jsonl", b"\n".join([good, line, good]))))
    assert [rows[0], rows[2]] == [Row("good")] * 2
    assert isinstance(rows[1], BadLine)
    assert str(rows[1]).startswith(f"line 2: {reason}")


def test_bad_lines_of_a_csv(tmp_path: Path) -> None:
    rows = list(read_rows(write(tmp_path / "a.csv", b"text,label\na,x,too many\n,x\n\xff,x\nb,y\n")))
    assert [str(r) for r in rows[:3]] == ["line 2: more cells than the first line names", "line 3: has no text", "line 4: not UTF-8"]
    assert rows[3:] == [Row("b", "y")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", b"", "unknown kind of file"),
        ("a", b"", "unknown kind of file"),
        ("a.csv", b"body,label\nx,y\n", "names no column `text`"),
        ("a.csv", b"", "names no column `text`"),
        ("a.csv", b"text,\xff\nx,y\n", "not UTF-8"),
        ("a.csv", b'text\n"open', "unexpected end of data"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        list(read_rows(write(tmp_path / name, data)))


def test_missing_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        list(read_rows(tmp_path / "a.jsonl"))
    packed = gzip.compress(b'{"text": "x"}\n' * 10_000)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_rows(tmp_path / "cut.jsonl.gz"))
    (tmp_path / "damaged.jsonl.gz").write_bytes(packed[:15] + bytes(255 - byte for byte in packed[15:17]) + packed[17:])
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_rows(tmp_path / "damaged.jsonl.gz"))
    (tmp_path / "plain.jsonl.gz").write_bytes(b'{"text": "x"}')
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_rows(tmp_path / "plain.jsonl.gz"))
