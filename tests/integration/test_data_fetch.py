"""`millrace data fetch` from a server of files of the sources' forms: what becomes of them, and of what is not as it was."""

from __future__ import annotations

import csv
import functools
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.cli import main
from stack.public_sets import PUBLIC_SETS

pytestmark = pytest.mark.integration


def comma(*rows: dict[str, str]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def snips(intent: str, *texts: list[str]) -> bytes:
    return json.dumps({intent: [{"data": [{"text": part} for part in text]} for text in texts]}).encode("cp1252")


def zipped(**files: list[dict[str, str]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, rows in files.items():
            archive.writestr(f"data/{name}.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    return out.getvalue()


def tweet(created: str, text: str, label: str) -> dict[str, str]:
    return {"tweet_id": "1", "airline_sentiment": label, "airline": "Delta", "text": text, "tweet_created": created}


_INTENTS = [path.split("/")[1] for path in PUBLIC_SETS["snips7"].files[::2]]
_FOLDER = "2017-06-custom-intent-engines"
SOURCES: dict[str, dict[str, bytes]] = {
    "snips7": {
        f"{_FOLDER}/{intent}/{kind.format(intent)}.json": snips(intent, ["play ", "Beyoncé", " now"], ["again"])
        for intent in _INTENTS
        for kind in ("train_{}_full", "validate_{}")
    },
    "banking77": {
        "banking_data/train.csv": comma({"text": "where, is it?\n", "category": "card_arrival"}, {"text": "b", "category": "other"}),
        "banking_data/test.csv": comma({"text": "c", "category": "other"}),
    },
    "sms_spam": {"SMSSpamCollection": "ham\tOk lar\nspam\tWIN £100\u2028now\nham\tthree\nham\tfour\nham\tfive\n".encode()},
    "us_airline": {
        "Tweets.csv": comma(
            tweet("2015-02-24 11:35:52 -0800", "second", "negative"), *[tweet(f"2/2{n}/15 9:05", f"t{n}", "neutral") for n in range(4)]
        )
    },
    "wisesight_th": {
        "huggingface/data.zip": zipped(
            train=[{"category": "neu", "texts": "สวัสดี "}], valid=[{"category": "q", "texts": "v"}], test=[{"category": "pos", "texts": "t"}]
        )
    },
    "tweeteval_emotion": {
        "datasets/emotion/train_text.txt": b"sunny \nrain\n",
        "datasets/emotion/train_labels.txt": b"1\n3\n",
        "datasets/emotion/test_text.txt": b"grr\n",
        "datasets/emotion/test_labels.txt": b"0\n",
    },
}
EXPECTED = {
    "banking77": {("where, is it?", "card_arrival", "train"), ("b", "other", "train"), ("c", "other", "test")},
    "sms_spam": {
        ("Ok lar", "ham", "train"), ("WIN £100\u2028now", "spam", "train"), ("three", "ham", "train"), ("four", "ham", "train"),
        ("five", "ham", "test"),
    },
    "us_airline": {("second", "negative", "test"), *{(f"t{n}", "neutral", "train") for n in range(4)}},
    "wisesight_th": {("สวัสดี", "neu", "train"), ("v", "q", "train"), ("t", "pos", "test")},
    "tweeteval_emotion": {("sunny", "joy", "train"), ("rain", "sadness", "train"), ("grr", "anger", "test")},
    "snips7": {(text, intent, split) for intent in _INTENTS for text in ("play Beyoncé now", "again") for split in ("train", "test")},
}  # fmt: skip


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@pytest.fixture
def source(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of the sources' files: its address and its folder."""
    folder = tmp_path / "served"
    for name, files in SOURCES.items():
        for path, data in files.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(data)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def fetch(name: str, address: str, output: Path) -> int:
    return main(["data", "fetch", name, "--source", f"{address}/{name}", "--output", str(output)])


@pytest.mark.parametrize("name", sorted(PUBLIC_SETS))
def test_a_set_becomes_our_rows_and_its_checksums_are_kept(
    name: str, source: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert fetch(name, source[0], output) == 0
    rows = [json.loads(line) for line in (output / f"{name}.jsonl").read_bytes().splitlines()]
    assert {(row["text"], row["label"], row["split"]) for row in rows} == EXPECTED[name]
    assert len(rows) == len(EXPECTED[name])
    kept = json.loads((output / "sources.json").read_text())
    assert len(kept) == len(SOURCES[name])
    said = capsys.readouterr()
    assert "never downloaded before" in said.err
    assert "were expected" in said.err
    assert fetch(name, source[0], output) == 0
    assert "never downloaded before" not in capsys.readouterr().err
    assert json.loads((output / "sources.json").read_text()) == kept


def test_a_file_that_is_not_what_it_was_is_refused_and_nothing_is_written(
    source: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder = source
    output = tmp_path / "out"
    assert fetch("sms_spam", address, output) == 0
    before = (output / "sms_spam.jsonl").read_bytes()
    (folder / "sms_spam" / "SMSSpamCollection").write_bytes(b"ham\tother\n")
    capsys.readouterr()
    assert fetch("sms_spam", address, output) == 2
    assert "not what came from there before" in capsys.readouterr().err
    assert (output / "sms_spam.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("sms_spam/SMSSpamCollection", b"no tab here\n", "another form"),
        ("sms_spam/SMSSpamCollection", b"", "another form"),
        ("wisesight_th/huggingface/data.zip", b"no zip", "another form"),
        ("banking77/banking_data/test.csv", b"a,b\n1,2\n", "another form"),
        ("tweeteval_emotion/datasets/emotion/test_labels.txt", b"9\n", "another form"),
        ("tweeteval_emotion/datasets/emotion/test_labels.txt", None, "404"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(
    path: str, data: bytes | None, said: str, source: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder = source
    (folder / path).unlink() if data is None else (folder / path).write_bytes(data)
    name = path.partition("/")[0]
    assert fetch(name, address, tmp_path / "out") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / f"{name}.jsonl").exists()


def test_without_a_connection_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch("sms_spam", "http://127.0.0.1:9", tmp_path) == 2
    assert "no connection" in capsys.readouterr().err


def test_the_sets_are_listed_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PUBLIC_SETS)
    assert main(["data", "fetch", "nothing"]) == 2
    assert "snips7" in capsys.readouterr().err
