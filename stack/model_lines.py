"""What the command line knows of a task's lines: the changes in the model log, the stored releases, the trials."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing

from api.model_views import LineDetail, ModelAtView, ModelsView, line_detail, model_at, models_view
from schemas.log import AnyChange, Command
from schemas.manifest import Manifest
from schemas.records import Trial
from schemas.settings import Settings
from schemas.topics import Topic
from stack.errors import StackError
from stack.model_api import NoLine
from store.artifacts import ArtifactFolder
from store.commands import InvalidCommand, send
from store.connect import KafkaUnavailable, RedisUnavailable, connect_redis
from store.follow import Follower
from store.model_feed import TaskLog, TaskLogs
from store.reader import RedisReader
from store.releases import ReleaseFolder, ReleaseUnknown

QUIET_S = 2.0
_POLL_MS = 200


class NoAnswer(StackError):
    """The learner has not answered in time; it may still do so."""

    exit_code = 1


class Said:
    """Tells on stderr what is waited for, as soon as it takes longer than two seconds, and every two seconds after that."""

    def __init__(self, say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)) -> None:
        self._say = say
        self._begun = self._spoken = time.monotonic()

    def waiting(self, what: str) -> None:
        """Say it, if it is time."""
        now = time.monotonic()
        if now - self._spoken >= QUIET_S:
            self._spoken = now
            self._say(f"{what} ({now - self._begun:.0f} s)")


class ModelLines:
    """The lines of one task. Close it after use.

    Args:
        settings: of the installation.
        task: which task.
    """

    def __init__(self, settings: Settings, task: str) -> None:
        self.settings, self.task = settings, task
        self.releases = ReleaseFolder(ArtifactFolder(settings.artifacts))
        self._logs = TaskLogs([task])
        topic = settings.topic_prefix + Topic.MODEL_LOG
        self._follower = Follower(settings.kafka, [topic], lambda _, records: self._logs.take(records), self._logs.forget)

    def close(self) -> None:
        """Let go of the broker."""
        self._follower.close()

    def read(self) -> TaskLog:
        """Read the log to its end, and return what it says.

        Raises:
            KafkaUnavailable: if it cannot be read.
        """
        said = Said()
        while not self._follower.caught_up:
            self._follower.poll(_POLL_MS)
            read, total = self._follower.progress
            said.waiting(f"reading the model log: {read:,} of {total:,} records")
        return self.log

    @property
    def log(self) -> TaskLog:
        """What has been read so far."""
        return self._logs.tasks[self.task]

    def manifest(self, line: str) -> Manifest | None:
        """Return the manifest of a line, None if no refresh made it."""
        try:
            return self.releases.get(self.task, line)
        except ReleaseUnknown:
            return None

    def trials(self) -> dict[str, Trial] | None:
        """Return how the watched lines compare; None while Redis does not say it."""
        try:
            with closing(connect_redis(self.settings.redis)) as client:
                quality = RedisReader(client, topic_prefix=self.settings.topic_prefix).quality(self.task)
        except RedisUnavailable:
            return None
        return {trial.line: trial for trial in quality.trials} if quality else {}

    def view(self) -> ModelsView:
        """Return the lines as the API shows them; reads the log."""
        return models_view(self.task, self.read(), self.releases.list(self.task), self.trials() or {})

    def detail(self, line: str) -> LineDetail:
        """Return all of a line; reads the log.

        Raises:
            NoLine: if there is no such line.
        """
        found = line_detail(self.task, line, self.read(), self.manifest(line), (self.trials() or {}).get(line))
        if found is None:
            raise NoLine(line)
        return found

    def at(self, time: int) -> ModelAtView:
        """Return which line was live at a time, epoch ms; reads the log."""
        return model_at(self.task, self.read(), time)

    def ask(self, command: Command, timeout_s: float) -> AnyChange:
        """Send a command and return the learner's answer.

        Raises:
            KafkaUnavailable: if it cannot be sent.
            NoAnswer: if none comes in time.
            StackError: if it breaks a rule of its record.
        """
        try:
            send(self.settings, command)
        except InvalidCommand as error:
            raise StackError(str(error)) from error
        said, deadline = Said(), time.monotonic() + timeout_s
        while (answer := self.log.answer_to(command.command_id)) is None:
            if time.monotonic() > deadline:
                raise NoAnswer(_advice(command, timeout_s))
            try:
                self._follower.poll(_POLL_MS)
            except KafkaUnavailable as error:
                said.waiting(str(error))
                time.sleep(_POLL_MS / 1000)
            said.waiting("waiting for the learner's answer")
        return answer


def _advice(command: Command, timeout_s: float) -> str:
    look = f"`millrace models show {command.line}`" if command.line else "`millrace models list`"
    return (
        f"No answer in {timeout_s:g} s; the command ({command.command_id}) is kept, and is done as soon as the learner comes to it.\n"
        "Does the job learn run, and does it make checkpoints? `millrace status`\n"
        "What does it say? `millrace logs taskmanager`\n"
        f"What came of it: {look}"
    )
