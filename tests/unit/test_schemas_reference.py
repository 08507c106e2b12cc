from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from schemas.json_schema import TOPIC_RECORDS, generated_files, main, topic_schema
from schemas.parsing import encode
from schemas.records import Event, Feedback
from schemas.reference import TOPIC_KEYS
from schemas.topics import MODEL_LOG_PARTITIONS, Topic, topic_specs

pytestmark = pytest.mark.unit

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_the_generated_documentation_is_fresh(name: str) -> None:
    assert (SCHEMAS / name).read_text(encoding="utf-8") == generated_files()[name], "stale: run `make docs`"


def test_there_is_one_schema_a_topic_and_no_other() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{topic}.json" for topic in Topic}


def test_the_generator_removes_the_schema_of_a_topic_that_is_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "schemas"
    folder.mkdir(parents=True)
    (folder / "gone.json").write_text("{}")
    main(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{topic}.json" for topic in Topic)
    assert (folder.parent / "topics.md").exists()


@pytest.mark.parametrize("topic", list(Topic))
def test_every_schema_is_a_valid_one(topic: Topic) -> None:
    jsonschema.Draft202012Validator.check_schema(topic_schema(topic))


def test_the_schema_agrees_with_the_parser() -> None:
    events = jsonschema.Draft202012Validator(topic_schema(Topic.EVENTS))
    feedback = jsonschema.Draft202012Validator(topic_schema(Topic.FEEDBACK))
    assert events.is_valid(json.loads(encode(Event(event_id="a", text="", meta={"k": None}))))
    assert feedback.is_valid(json.loads(encode(Feedback(event_id="a", label="b", weight=0.5))))
    assert not events.is_valid({"event_id": "", "text": "t"})
    assert not events.is_valid({"v": 2, "event_id": "a", "text": "t"})
    assert not feedback.is_valid({"event_id": "a", "label": "b", "weight": 0})


def test_every_topic_has_a_specification_records_and_a_key() -> None:
    specified = [spec.topic for spec in topic_specs(partitions=3)]
    assert sorted(specified) == sorted(Topic)
    assert set(TOPIC_RECORDS) == set(TOPIC_KEYS) == set(Topic)


@pytest.mark.parametrize("partitions", [1, 4, 32])
def test_the_model_log_keeps_its_partitions_and_its_entries(partitions: int) -> None:
    (log,) = [spec for spec in topic_specs(partitions=partitions) if spec.topic is Topic.MODEL_LOG]
    assert log.partitions == MODEL_LOG_PARTITIONS
    assert log.config["retention.ms"] == log.config["retention.bytes"] == "-1"
    assert log.config.get("cleanup.policy", "delete") == "delete"
