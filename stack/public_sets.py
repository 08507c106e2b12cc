"""Public sets of labelled texts: where their own sources keep them, and how their files become our rows. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

_RAW = "https://raw.githubusercontent.com"
_INTENTS = ("AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook", "SearchCreativeWork", "SearchScreeningEvent")
_EMOTIONS = {"0": "anger", "1": "joy", "2": "optimism", "3": "sadness"}
_TRAIN_PERCENT = 80

Fields = dict[str, str]
"""Of one row: `text`, `label`, `split` and what else the source knows."""


class FormatError(ValueError):
    """A file of a source is not of the form that it had."""


class PublicSet(msgspec.Struct, frozen=True, kw_only=True):
    """A public set.

    Attributes:
        what: in a few words.
        licence: as its source states it.
        base: what the addresses begin with; they name a commit, so what lies there does not change.
        files: path of each file below it.
        rows: how the files, by path, become rows.
        counts: how many rows of each split there should be.
        sorted_by_class: whether the source has its rows by class; they are then brought into an order that only depends on them.
    """

    what: str
    licence: str
    base: str
    files: tuple[str, ...]
    rows: Callable[[Mapping[str, bytes]], Iterator[Fields]]
    counts: dict[str, int]
    sorted_by_class: bool = False


def convert(chosen: PublicSet, files: Mapping[str, bytes]) -> list[Fields]:
    """Return the rows of a set.

    Raises:
        FormatError: if a file is not of the form that it had.
    """
    try:
        rows = list(chosen.rows(files))
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error, zipfile.BadZipFile) as error:
        raise FormatError(f"{type(error).__name__}: {error}") from error
    if not rows:
        raise FormatError("its files hold no rows")
    if not chosen.sorted_by_class:
        return rows
    numbered = sorted(enumerate(rows), key=lambda item: hashlib.sha256(f"{item[0]} {item[1]['text']}".encode()).digest())
    return [row for _, row in numbered]


def _snips(files: Mapping[str, bytes]) -> Iterator[Fields]:
    for path, data in files.items():
        intent = path.split("/")[1]
        split = "test" if "/validate_" in path else "train"
        for query in json.loads(_text(data))[intent]:
            yield {"text": "".join(part["text"] for part in query["data"]).strip(), "label": intent, "split": split}


def _banking(files: Mapping[str, bytes]) -> Iterator[Fields]:
    for path, data in files.items():
        for row in _csv(data):
            yield {"text": row["text"].strip(), "label": row["category"], "split": path.rpartition("/")[2].removesuffix(".csv")}


def _sms(files: Mapping[str, bytes]) -> Iterator[Fields]:
    (data,) = files.values()
    pairs = [line.partition("\t") for line in _text(data).split("\n") if line.strip()]
    for number, (label, tab, text) in enumerate(pairs):
        if not tab:
            raise FormatError(f"line {number + 1} has no tab")
        split = "train" if number < len(pairs) * _TRAIN_PERCENT // 100 else "test"
        yield {"text": text.strip(), "label": label, "split": split}


def _airline(files: Mapping[str, bytes]) -> Iterator[Fields]:
    (data,) = files.values()
    rows = sorted(((_moment(row["tweet_created"]), row) for row in _csv(data)), key=lambda pair: pair[0])
    for number, (moment, row) in enumerate(rows):
        split = "train" if number < len(rows) * _TRAIN_PERCENT // 100 else "test"
        fields = {"text": row["text"].strip(), "label": row["airline_sentiment"], "split": split}
        yield {**fields, "ts": moment.isoformat(), "airline": row["airline"]}


def _moment(text: str) -> datetime:
    """Return a time as the source writes it: to the second with its zone, or to the minute in Pacific Standard Time."""
    if "/" in text:
        return datetime.strptime(f"{text} -0800", "%m/%d/%y %H:%M %z")
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")


def _wisesight(files: Mapping[str, bytes]) -> Iterator[Fields]:
    (data,) = files.values()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for part, split in (("train", "train"), ("valid", "train"), ("test", "test")):
            (name,) = [name for name in archive.namelist() if name.endswith(f"{part}.jsonl") and not name.startswith("__")]
            for line in archive.read(name).splitlines():
                row = json.loads(line)
                yield {"text": row["texts"].strip(), "label": row["category"], "split": split}


def _emotion(files: Mapping[str, bytes]) -> Iterator[Fields]:
    for split in ("train", "test"):
        texts, labels = (_lines(next(d for p, d in files.items() if p.endswith(f"{split}_{kind}.txt"))) for kind in ("text", "labels"))
        for text, label in zip(texts, labels, strict=True):
            yield {"text": text.strip(), "label": _EMOTIONS[label.strip()], "split": split}


def _text(data: bytes) -> str:
    """Return a file's text: UTF-8, or what older files of these sources are in."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _lines(data: bytes) -> Sequence[str]:
    return [line for line in _text(data).split("\n") if line.strip()]


def _csv(data: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(_text(data), newline=""))


PUBLIC_SETS: dict[str, PublicSet] = {
    "snips7": PublicSet(
        what="commands to a voice assistant, 7 intents, English",
        licence="CC0 1.0",
        base=f"{_RAW}/snipsco/nlu-benchmark/b86ac7f1577868c42158d0dec77db50956046696/",
        files=tuple(
            f"2017-06-custom-intent-engines/{intent}/{name}.json"
            for intent in _INTENTS
            for name in (f"train_{intent}_full", f"validate_{intent}")
        ),
        rows=lambda files: _snips({path.removeprefix("2017-06-custom-intent-engines"): data for path, data in files.items()}),
        counts={"train": 13_784, "test": 700},
        sorted_by_class=True,
    ),
    "banking77": PublicSet(
        what="questions to a bank, 77 intents, English",
        licence="CC BY 4.0",
        base=f"{_RAW}/PolyAI-LDN/task-specific-datasets/57ec275d8078af65b7731c2a98be812d844a6d6b/",
        files=("banking_data/train.csv", "banking_data/test.csv"),
        rows=_banking,
        counts={"train": 10_003, "test": 3_080},
        sorted_by_class=True,
    ),
    "sms_spam": PublicSet(
        what="text messages, spam or not, English",
        licence="free for all purposes",
        base=f"{_RAW}/learn-co-students/dsc-document-classification-with-naive-bayes-lab-online-ds-pt-051319/"
        "2f98ca443ecd26e1088b369260f1e9782e2e36fc/",
        files=("SMSSpamCollection",),
        rows=_sms,
        counts={"train": 4_459, "test": 1_115},
    ),
    "us_airline": PublicSet(
        what="tweets about airlines with times, 3 sentiments, English",
        licence="CC BY-NC-SA 4.0: not for commercial use",
        base=f"{_RAW}/HBGRR557722/Sentiment-Analysis-Airlines/719bd719e50d42c638d94cf3dc0e596e09c20c8d/",
        files=("Tweets.csv",),
        rows=_airline,
        counts={"train": 11_712, "test": 2_928},
    ),
    "wisesight_th": PublicSet(
        what="messages about brands, 4 sentiments, Thai",
        licence="CC0 1.0",
        base=f"{_RAW}/PyThaiNLP/wisesight-sentiment/c1d063649abc3a6870b5fd1aae26cd1c64bdde7b/",
        files=("huggingface/data.zip",),
        rows=_wisesight,
        counts={"train": 24_032, "test": 2_671},
        sorted_by_class=True,
    ),
    "tweeteval_emotion": PublicSet(
        what="tweets, 4 emotions, English",
        licence="for research",
        base=f"{_RAW}/cardiffnlp/tweeteval/4fbd22cd78421f05b1ecdb4fc5725bc7a7bd8f66/",
        files=tuple(f"datasets/emotion/{part}_{kind}.txt" for part in ("train", "test") for kind in ("text", "labels")),
        rows=_emotion,
        counts={"train": 3_257, "test": 1_421},
    ),
}
"""By name. The addresses name a commit of their repository."""
