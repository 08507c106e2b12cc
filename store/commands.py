"""Commands to the learner, and its answers: an answer is the entry of the model log that names the command."""

from __future__ import annotations

import time
from contextlib import closing

from kafka.errors import KafkaError

from schemas.log import AnyChange, Command
from schemas.parsing import RejectRecord, encode, parse_command
from schemas.settings import Settings
from schemas.topics import Topic
from store.connect import connect_producer, kafka_unavailable
from store.log_reader import ModelLogReader
from store.model_history import ModelHistory

_LOOK_S = 0.25
_SENT_S = 20.0


class NoAnswer(Exception):
    """The learner has not answered a command in time: it may still do so. Whether it runs says `millrace status`."""


class InvalidCommand(ValueError):
    """A command that the learner would not even answer: it would become a dead letter."""


def send(settings: Settings, command: Command) -> None:
    """Hand a command to the learner; it is kept by the broker when this returns.

    Raises:
        InvalidCommand: if it breaks a rule of its record.
        KafkaUnavailable: if the broker does not take it.
    """
    try:
        value = encode(command)
        parse_command(value, tasks=settings.tasks)
    except (RejectRecord, UnicodeEncodeError) as error:
        raise InvalidCommand(f"the command cannot be sent: {error}") from error
    with closing(connect_producer(settings.kafka)) as producer:
        try:
            topic = settings.topic_prefix + Topic.MODEL_COMMANDS
            producer.send(topic, value, key=command.task.encode()).get(_SENT_S)
        except KafkaError as error:
            raise kafka_unavailable(settings.kafka, error) from error


def await_answer(settings: Settings, command: Command, timeout_s: float, *, history: ModelHistory | None = None) -> AnyChange:
    """Return the entry by which the learner has answered a command; a refusal is one as well.

    Args:
        history: of the command's task; it is read on. Without it the log is read from its beginning.

    Raises:
        NoAnswer: if none has come in `timeout_s` seconds.
        KafkaUnavailable: if the log cannot be read.
    """
    reader = ModelLogReader(settings.kafka, settings.topic_prefix + Topic.MODEL_LOG)
    deadline = time.monotonic() + timeout_s
    history = ModelHistory(command.task) if history is None else history
    while True:
        history.update(reader)
        if (answer := history.answer_to(command.command_id)) is not None:
            return answer
        if time.monotonic() >= deadline:
            raise NoAnswer(f"task {command.task}: no answer to command {command.command_id} ({command.do}) in {timeout_s:g} s")
        time.sleep(_LOOK_S)
