"""The route that says what there is to ask about and to send to: the tasks, the broker, the names of the topics."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from api.access.guard import needs
from api.services import Has, answers, default_task, json
from schemas.kafka_address import servers_of
from schemas.topics import Topic

router = APIRouter(prefix="/v1", tags=["read"], dependencies=needs("read"))


class TasksView(msgspec.Struct, frozen=True, kw_only=True):
    """The configured tasks and the one that is meant where none is named; the broker, and the topics by their logical names."""

    tasks: list[str]
    default: str
    kafka: str
    topics: dict[str, str]


@router.get("/tasks", responses=answers(TasksView))
def tasks(has: Has) -> Response:
    """Return the tasks, and where events and labels can be sent without this API."""
    settings = has.settings
    kafka = servers_of(settings.kafka)
    topics = {topic.value: settings.topic_prefix + topic for topic in (Topic.EVENTS, Topic.FEEDBACK, Topic.PREDICTIONS)}
    return json(TasksView(tasks=list(settings.tasks), default=default_task(settings.tasks), kafka=kafka, topics=topics))
