"""JSON Schema of the topics' records, and the program that writes it and the reference pages into the documentation.

`python -m schemas.json_schema docs/schemas` writes one schema a topic there, and `topics.md`, `settings.md` and `metrics.md` into the
folder above, `.env.example` into the one above that. The functions are pure; only `main` touches files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas.audit import AuditRecord
from schemas.log import AnyLogEntry, Command
from schemas.metrics import metrics_page
from schemas.records import SCHEMA_VERSION, Aggregate, Alarm, DeadLetter, Event, Feedback, LabelState, Prediction, Quality
from schemas.reference import environment_example, settings_page, topics_page
from schemas.topics import Topic
from schemas.trending import Trending

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TOPIC_RECORDS: dict[Topic, Any] = {
    Topic.EVENTS: Event,
    Topic.FEEDBACK: Feedback,
    Topic.PREDICTIONS: Prediction,
    Topic.MODEL_LOG: AnyLogEntry,
    Topic.MODEL_COMMANDS: Command,
    Topic.SHADOW_PREDICTIONS: Prediction,
    Topic.LABEL_STATES: LabelState,
    Topic.QUALITY: Quality,
    Topic.AGGREGATES: Aggregate,
    Topic.TRENDING: Trending,
    Topic.ALARMS: Alarm,
    Topic.DEAD_LETTERS: DeadLetter,
    Topic.AUDIT: AuditRecord,
}
"""What a topic holds: a record, or a union of them."""


ONE_MEANING = [
    {"required": ["label"], "properties": {"label": {"type": "string"}, "verdict": {"type": "null"}}},
    {"required": ["verdict"], "properties": {"verdict": {"type": "string"}, "label": {"type": "null"}, "text": {"type": "null"}}},
]
"""A label or a verdict, which goes with no text: the rule of `Feedback` that its fields do not tell."""


def with_rules(components: dict[str, Any]) -> dict[str, Any]:
    """Return JSON Schemas of types by name with the rules that hold between fields of one of them."""
    return {name: schema | ({"oneOf": ONE_MEANING} if name == "Feedback" else {}) for name, schema in components.items()}


def topic_schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the values of `topic`; every type it needs is in its `$defs`.

    >>> topic_schema(Topic.EVENTS)["$defs"]["Event"]["required"]
    ['event_id', 'text']
    """
    (schema,), components = msgspec.json.schema_components([TOPIC_RECORDS[topic]], ref_template="#/$defs/{name}")
    for component in components.values():
        if "v" in component.get("properties", {}):
            component["properties"]["v"] = {"const": SCHEMA_VERSION, "default": SCHEMA_VERSION}
    return {"$schema": DIALECT, "title": topic.value, **schema, "$defs": with_rules(components)}


def generated_files() -> dict[str, str]:
    """Return every generated file: its path relative to the folder of the schemas, and its text."""
    schemas = {topic: topic_schema(topic) for topic in Topic}
    files = {f"{topic.value}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for topic, schema in schemas.items()}
    pages = {"topics.md": topics_page(schemas), "settings.md": settings_page(), "metrics.md": metrics_page()}
    return {**files, **{f"../{name}": text for name, text in pages.items()}, "../../.env.example": environment_example()}


def main(folder: Path) -> None:
    """Write the generated files, and remove the schema of a topic that is no more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = generated_files()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    for stale in set(folder.glob("*.json")) - {folder / name for name in files}:
        stale.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m schemas.json_schema FOLDER")
    main(Path(sys.argv[1]))
