"""The generated pages of the documentation, `topics.md` and `settings.md`, as text. Pure."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.api_settings import API_PREFIX, ApiSettings
from schemas.compose_settings import ComposeSettings
from schemas.kafka_login import LOGIN_PREFIX, KafkaLogin
from schemas.refresh_settings import REFRESH_PREFIX, RefreshSettings
from schemas.settings import PREFIX, Settings
from schemas.topics import Topic, TopicSpec, topic_specs
from schemas.worker_settings import WorkerSettings

TOPIC_KEYS: dict[Topic, str] = {
    Topic.EVENTS: "`event_id`",
    Topic.FEEDBACK: "`event_id`",
    Topic.PREDICTIONS: "`event_id`",
    Topic.MODEL_LOG: "`task`",
    Topic.MODEL_COMMANDS: "`task`",
    Topic.SHADOW_PREDICTIONS: "`event_id`",
    Topic.LABEL_STATES: "`event_id`, empty for a label that names none",
    Topic.QUALITY: "`task`",
    Topic.AGGREGATES: "`name/task/label/granularity/start`",
    Topic.TRENDING: "`task/kind`",
    Topic.ALARMS: "`task`",
    Topic.DEAD_LETTERS: "`partition:offset` of the record that was refused",
    Topic.AUDIT: "name of the API key, empty without one",
}
"""What the Kafka key of a record is made of."""

SET_BY_COMPOSE = ("MILLRACE_ARTIFACTS", "MILLRACE_REFRESH_FOLDER", "MILLRACE_API_HOST")
"""Fixed inside the containers."""
COMPOSE_DEFAULTS = {
    "MILLRACE_KAFKA": "kafka:9092",
    "MILLRACE_REDIS": "redis://redis:6379/0",
    "MILLRACE_API_KEYS": "/run/millrace/keys/keys.json",
    "MILLRACE_REFRESH_REGISTRY": "http://mlflow:5000",
    "MILLRACE_REFRESH_EVERY_S": "86400",
}
"""What `docker-compose.yml` says where nothing else is said."""
OFFICIAL_IMAGES = {
    "PYTHON_IMAGE": "python:3.11-slim-bookworm",
    "KAFKA_IMAGE": "apache/kafka:4.1.1",
    "REDIS_IMAGE": "redis:7.4",
    "PROMETHEUS_IMAGE": "prom/prometheus:v3.5.0",
    "ALERTMANAGER_IMAGE": "prom/alertmanager:v0.28.1",
    "GRAFANA_IMAGE": "grafana/grafana:12.1.1",
    "CADVISOR_IMAGE": "ghcr.io/google/cadvisor:0.55.1",
}
"""The variables that replace official images, and what they replace."""

_GENERATED = "<!-- Generated from the code by `make docs`; a test fails when it is stale. -->"
_DAY_MS = 24 * 3600 * 1000
_SPREAD = "`topic_partitions`"


def topics_page(schemas: Mapping[Topic, Mapping[str, Any]]) -> str:
    """Return the page of the topics: how each is created, and the fields of its records."""
    lines = [
        "# Topics",
        "",
        _GENERATED,
        "",
        "JSON, UTF-8. Times are epoch milliseconds. A name on the broker is `topic_prefix` + the topic's name. A reader ignores fields",
        "that it does not know; a record whose `v` it does not know is refused. JSON Schema of each topic: `docs/schemas/`.",
        "",
        "| topic | key | partitions | retention | records |",
        "|---|---|---|---|---|",
    ]
    few, many = topic_specs(partitions=1), topic_specs(partitions=2)
    for spec, other in zip(few, many, strict=True):
        partitions = str(spec.partitions) if spec.partitions == other.partitions else f"{_SPREAD} ({Settings().topic_partitions})"
        records = ", ".join(f"[{name}](#{name.lower()})" for name in _root_names(schemas[spec.topic]))
        lines.append(f"| {spec.topic} | {TOPIC_KEYS[spec.topic]} | {partitions} | {_retention(spec)} | {records} |")
    definitions: dict[str, Mapping[str, Any]] = {}
    for topic in Topic:
        schema = schemas[topic]
        definitions |= {name: schema["$defs"][name] for name in _root_names(schema)}
        definitions |= {name: definition for name, definition in schema["$defs"].items() if name not in definitions}
    for name, definition in definitions.items():
        lines += _definition(name, definition)
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """Return the page of the settings: name, default, rule, meaning."""
    return "\n".join(
        [
            "# Settings",
            "",
            _GENERATED,
            "",
            "Read once, at start, from environment variables; lists are comma-separated. All that is wrong is reported at once.",
            "",
            *_settings_table(Settings, PREFIX),
            "",
            "## Logging in to Kafka",
            "",
            "For a Kafka that asks for it ([access.md](access.md)). They become part of `MILLRACE_KAFKA` when the settings are read,",
            "without the password.",
            "",
            *_settings_table(KafkaLogin, LOGIN_PREFIX),
            "",
            "## The API",
            "",
            "Read by `python -m api` and `millrace up` ([access.md](access.md)).",
            "",
            *_settings_table(ApiSettings, API_PREFIX),
            "",
            "## The refresh",
            "",
            "Read when a refresh starts ([refresh.md](refresh.md)); its flags go before them.",
            "",
            *_settings_table(RefreshSettings, REFRESH_PREFIX),
            "",
            "## When a refresh starts by itself, and alerts",
            "",
            "Read by the worker ([releases.md](releases.md)), which runs when at least one of them asks for something.",
            "",
            *_settings_table(WorkerSettings, REFRESH_PREFIX),
            "",
            "## The container stack",
            "",
            "Read by `docker-compose.yml`, from `.env` or the shell ([operations.md](operations.md)), as the settings above are.",
            "`KAFKA_IMAGE`, `REDIS_IMAGE`, `PYTHON_IMAGE` and those of the profile `observability` replace official images.",
            "",
            *_settings_table(ComposeSettings, PREFIX),
            "",
        ]
    )


def environment_example() -> str:
    """Return `.env.example`: every variable of the container stack with its default and its meaning, commented out."""
    lines = [
        "# Every variable that the container stack reads. Copy it to `.env`, and take the # from those to change. The same names work",
        "# for the command line and for processes without containers. Made by `make docs`; docs/settings.md has it as tables.",
    ]
    parts: tuple[tuple[str, type[msgspec.Struct], str], ...] = (
        ("The container stack", ComposeSettings, PREFIX),
        ("Jobs, API and tools", Settings, PREFIX),
        ("Logging in to Kafka", KafkaLogin, LOGIN_PREFIX),
        ("The API", ApiSettings, API_PREFIX),
        ("The refresh", RefreshSettings, REFRESH_PREFIX),
        ("When a refresh starts by itself, and alerts", WorkerSettings, REFRESH_PREFIX),
    )
    for title, kind, prefix in parts:
        lines += ["", f"# {title}"]
        meanings = setting_meanings(kind)
        for field in msgspec.structs.fields(kind):
            name = prefix + field.name.upper()
            if name not in SET_BY_COMPOSE:
                lines += ["", *textwrap.wrap(meanings[field.name], 120, initial_indent="# ", subsequent_indent="# ")]
                lines.append(f"#{name}={COMPOSE_DEFAULTS.get(name, _shown(field.default))}")
    images = [f"#{name}={image}" for name, image in OFFICIAL_IMAGES.items()]
    return "\n".join([*lines, "", "# Official images, where another registry has them", "", *images]) + "\n"


def _shown(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def _settings_table(kind: type[msgspec.Struct], prefix: str) -> list[str]:
    lines = ["| variable | default | rule | meaning |", "|---|---|---|---|"]
    meanings = setting_meanings(kind)
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    for field in msgspec.structs.fields(kind):
        default = _shown(field.default)
        shown = f"`{default}`" if default else "empty"
        lines.append(f"| `{prefix}{field.name.upper()}` | {shown} | {describe(properties[field.name])} | {meanings.get(field.name, '')} |")
    return lines


def setting_meanings(kind: type[msgspec.Struct] = Settings) -> dict[str, str]:
    """Return what the docstring of a struct of settings says of each field.

    >>> setting_meanings()["kafka"]
    'bootstrap servers, `host:port,…`; with a login, see the variables `MILLRACE_KAFKA_…` below.'
    """
    attributes = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def describe(schema: Mapping[str, Any]) -> str:
    """Return a JSON Schema in a few words, for a cell of a table.

    >>> describe({"type": "string", "minLength": 1, "maxLength": 256})
    'string, 1–256 characters'
    >>> describe({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]})
    'integer ≥ 0 or null'
    """
    if "anyOf" in schema:
        return " or ".join(describe(part) for part in schema["anyOf"])
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" if value else "empty" for value in schema["enum"] if value is not None)
    if "const" in schema:
        return f"`{schema['const']}`"
    return _basic(schema)


def _basic(schema: Mapping[str, Any]) -> str:
    kind = str(schema["type"])
    if kind == "array":
        return f"{_range('', schema, 'minItems', 'maxItems', ' ')}list of: {describe(schema['items'])}"
    if kind == "object":
        return f"object of: {describe(schema['additionalProperties'])}"
    if "pattern" in schema:
        return f"{kind} matching `{schema['pattern'].replace('|', chr(92) + '|')}`"
    if kind == "string":
        return kind + _range(", ", schema, "minLength", "maxLength", " characters")
    if "exclusiveMinimum" in schema:
        kind = f"{kind} > {schema['exclusiveMinimum']:g},"
    return kind + _range(", ", schema, "minimum", "maximum", "")


def _range(before: str, schema: Mapping[str, Any], low: str, high: str, unit: str) -> str:
    match schema.get(low), schema.get(high):
        case None, None:
            return ""
        case least, None:
            return f"{before if unit else ' '}≥ {least}{unit}"
        case None, most:
            return f"{before if unit else ' '}≤ {most}{unit}"
        case least, most:
            return f"{before}{least}–{most}{unit}"


def _root_names(schema: Mapping[str, Any]) -> list[str]:
    return [part["$ref"].rpartition("/")[2] for part in schema.get("anyOf", [schema])]


def _retention(spec: TopicSpec) -> str:
    if spec.config.get("cleanup.policy") == "compact":
        return "compacted: the newest of each key"
    milliseconds = int(spec.config["retention.ms"])
    return "for ever" if milliseconds < 0 else f"{milliseconds // _DAY_MS} days"


def _definition(name: str, definition: Mapping[str, Any]) -> list[str]:
    paragraphs = [" ".join(text.split()) for text in definition.get("description", "").split("\n\n")]
    lines = ["", f"## {name}", "", "\n\n".join(paragraphs)]
    if "properties" not in definition:
        return [*lines, "", "One of: " + describe(definition)]
    required = set(definition.get("required", ()))
    lines += ["", "| field | type | default |", "|---|---|---|"]
    for field, schema in definition["properties"].items():
        default = "required" if field in required or "default" not in schema else f"`{msgspec.json.encode(schema['default']).decode()}`"
        lines.append(f"| `{field}` | {describe(schema)} | {default} |")
    return lines
