"""`millrace compare` on a real broker: what it reads, what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from schemas.log import AnyLogEntry
from schemas.parsing import encode
from schemas.records import DeadLetter, ModelVersion, Prediction, Quality, Reason, Scores
from schemas.topics import Topic
from stack.cli import main
from tests.unit.test_stack_compare import LOG, said, snapshot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SCORES = Scores(labels=3, accuracy=2 / 3, macro_f1=0.5, log_loss=1.0, per_class={})


def write(kafka: str, prefix: str, predictions: Sequence[Prediction], log: Sequence[AnyLogEntry], refused: Sequence[str] = ()) -> None:
    """Write what the jobs of an installation would."""
    quality = Quality(
        task="default", time=0, model=ModelVersion(line="base", seq=3), model_time=0, overall=SCORES, window=SCORES, window_size=9
    )
    letters = [
        DeadLetter(topic=prefix + topic, partition=0, offset=n, reason=Reason.NOT_JSON, detail="", length=1, sha256=sha256, head="", time=0)
        for n, sha256 in enumerate(refused)
        for topic in (Topic.EVENTS, Topic.MODEL_COMMANDS)
    ]
    with closing(KafkaProducer(bootstrap_servers=kafka)) as producer:
        for topic, records in (
            (Topic.PREDICTIONS, predictions), (Topic.MODEL_LOG, log), (Topic.QUALITY, [quality]), (Topic.DEAD_LETTERS, letters),
        ):  # fmt: skip
            for record in records:
                producer.send(prefix + topic, encode(record), key=b"default")


@pytest.fixture
def compare(
    kafka: str, topic_prefix: str, topics: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., int]:
    """The command, on an installation and one with the prefix `green-` before it; no stack runs here."""
    topics(kafka, f"green-{topic_prefix}")
    for name, value in {"KAFKA": kafka, "TOPIC_PREFIX": topic_prefix, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"MILLRACE_{name}", value)
    return lambda *flags: main(["compare", f"green-{topic_prefix}", *flags])


def test_two_that_say_the_same(kafka: str, topic_prefix: str, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    predictions = [said("a", None, 0), said("b", "x", 1), said("c", "y", 2)]
    later = [*LOG[:1], snapshot(2), *(msgspec.structs.replace(entry, seq=entry.seq + 1) for entry in LOG[1:])]
    write(kafka, topic_prefix, predictions, LOG, refused=["s1", "s2"])
    write(kafka, f"green-{topic_prefix}", [*predictions[:2], said("c", "y", 3), said("d", "x", 3)], later, refused=["s1"])
    assert compare("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["prefixes"] == [topic_prefix, f"green-{topic_prefix}"]
    assert found["refused"] == {"both": 1, "only": [1, 0]}
    (task,) = found["tasks"]
    assert (task["both"], task["only"], task["same_label"]) == (3, [0, 1], 3)
    assert (task["same_model"], task["same_seq"], task["differing"]) == (3, 2, 0)
    assert task["logs"] == {"entries": [3, 4], "changing": [3, 3], "same": 3, "difference": None}
    assert [one["accuracy"] for one in task["standing"]] == [2 / 3, 2 / 3]


def test_two_that_differ(kafka: str, topic_prefix: str, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    at = msgspec.structs.replace(said("b", "x", 1).source, time=2_000_000_000_000)
    first, second = (msgspec.structs.replace(said("b", label, 1), source=at) for label in "xy")
    write(kafka, topic_prefix, [first], LOG)
    write(kafka, f"green-{topic_prefix}", [second], LOG)
    assert compare() == 1
    assert "1 at the same seq: 1 DIFFER" in capsys.readouterr().out
    assert compare("--since", "2050-01-01T00:00:00") == 0
    assert "0 events answered by both" in capsys.readouterr().out


def test_what_is_wrong_is_said(topic_prefix: str, compare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--with-prefix", f"green-{topic_prefix}") == 2
    assert "there is nothing to compare" in capsys.readouterr().err
    assert compare("--with-prefix", "none-") == 2
    assert "there is no topic none-predictions" in capsys.readouterr().err
