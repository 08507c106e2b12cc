"""The parts of a plan, built and put into the hands of their keepers."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from schemas.kafka_address import servers_of
from schemas.redis_address import without_password
from stack import kafka, redis
from stack.flink import flink_part_pair, link_client, slots_for
from stack.flink_configuration import FlinkEndpoints
from stack.flink_rest import FlinkRest
from stack.part_keeper import PartKeeper
from stack.plan import StackPlan
from stack.ports import LOOPBACK
from stack.process import Part
from stack.refresh_command import missing_packages
from stack.state import Condition, PartState

_LOOK_S = 5.0


class Keeper(Protocol):
    """What the supervisor needs of a part, ours or somebody else's."""

    state: PartState

    @property
    def healthy(self) -> bool:
        """Whether it answers."""

    def tick(self, now: float) -> None:
        """Do what is due."""


class ExternalKeeper:
    """Watches a part that somebody else runs."""

    def __init__(self, name: str, url: str, answers: Callable[[], bool], now: float) -> None:
        self.state = PartState(name=name, state=Condition.WAITING, since=now, url=url)
        self._answers = answers
        self._next = now

    @property
    def healthy(self) -> bool:
        """Whether it answered when it was last asked."""
        return self.state.state is Condition.HEALTHY

    def tick(self, now: float) -> None:
        """Ask it now and then."""
        if now < self._next:
            return
        self._next = now + _LOOK_S
        condition = Condition.HEALTHY if self._answers() else Condition.UNHEALTHY
        if condition is not self.state.state:
            self.state.state, self.state.since = condition, now
            self.state.error = None if self.healthy else f"{self.state.url} does not answer"


class Parts:
    """All keepers by name, in the order in which they are started, and the environment of Flink's clients."""

    def __init__(self, plan: StackPlan, jars: Path, *, topics_ready: Callable[[], bool]) -> None:
        self.keepers: dict[str, Keeper] = {}
        self.client_environment: Mapping[str, str] = {}
        self._plan = plan
        self._jars = jars
        self._topics_ready = topics_ready

    def build(self) -> Iterator[str]:
        """Build one keeper after the other, the slowest starters first, and yield each one's name; tick between."""
        now = time.time()
        yield from self._flink(now)
        yield from self._redis(now)
        yield from self._kafka(now)
        if self._plan.jobs_only:
            return
        self._keep(api_part(self._plan), lambda: self._topics_ready() and self.healthy("redis"), now)
        yield "api"
        if worker_note(self._plan) is None:
            self._keep(refresh_part(self._plan), self._topics_ready, now)
            yield "refresh"

    def healthy(self, *names: str) -> bool:
        """Whether these parts answer."""
        return all(name in self.keepers and self.keepers[name].healthy for name in names)

    def own(self) -> list[PartKeeper]:
        """The keepers of our own parts."""
        return [keeper for keeper in self.keepers.values() if isinstance(keeper, PartKeeper)]

    def _keep(self, part: Part, ready: Callable[[], bool], now: float) -> None:
        self.keepers[part.name] = PartKeeper(part, ready=ready, now=now)

    def _flink(self, now: float) -> Iterator[str]:
        plan, folder = self._plan, self._plan.folder
        java = Path(plan.java_home)
        if plan.flink:
            rest = FlinkRest(plan.flink)
            self.client_environment = link_client(folder.flink, logs=folder.logs, java_home=java, jars=self._jars)
            self.keepers["jobmanager"] = ExternalKeeper("jobmanager", f"http://{plan.flink}", rest.answers, now)
            yield "jobmanager"
            return
        at = FlinkEndpoints(
            plan.ports["flink_rest"], plan.ports["flink_rpc"], plan.ports["flink_blob"],
            plan.ports["jobmanager_metrics"], plan.ports["taskmanager_metrics"],
        )  # fmt: skip
        settings = plan.read_settings()
        cluster = flink_part_pair(
            folder.flink,
            at,
            logs=folder.logs,
            java_home=java,
            jars=self._jars,
            environment=plan.settings,
            slots=slots_for(settings.classify_parallelism),
            heap_mib=settings.taskmanager_heap_mib,
        )
        self.client_environment = cluster.client_environment
        for part in (cluster.jobmanager, cluster.taskmanager):
            self._keep(part, lambda: True, now)
            yield part.name

    def _redis(self, now: float) -> Iterator[str]:
        plan, folder = self._plan, self._plan.folder
        url = plan.redis
        if url:
            self.keepers["redis"] = ExternalKeeper("redis", without_password(url), lambda: redis.answers(url), now)
        else:
            self._keep(redis.redis_part(folder.redis, plan.ports["redis"], log=folder.log("redis")), lambda: True, now)
        yield "redis"

    def _kafka(self, now: float) -> Iterator[str]:
        plan, folder, ports = self._plan, self._plan.folder, self._plan.ports
        servers = plan.kafka
        if servers:
            self.keepers["kafka"] = ExternalKeeper("kafka", servers_of(servers), lambda: kafka.reachable(servers), now)
        else:
            java, log = Path(plan.java_home), folder.log("kafka")
            part = kafka.broker_part(folder.kafka, ports["kafka"], ports["kafka_controller"], log=log, java_home=java, jars=self._jars)
            self._keep(part, lambda: True, now)
        yield "kafka"


def api_part(plan: StackPlan) -> Part:
    """Return the API, not started."""
    port, log = plan.ports["api"], plan.folder.log("api")
    command = [sys.executable, "-m", "api", "--port", str(port), "--log-file", str(log)]
    variables = {**plan.settings, **plan.api, **_python_environment()}
    url = plan.api_url
    return Part(
        "api", lambda: command, lambda: _alive(url), log, port, out=log.with_suffix(".out"), url=url, environment=variables
    )  # fmt: skip


def refresh_part(plan: StackPlan) -> Part:
    """Return the refresh worker, not started."""
    port, log = plan.ports["refresh"], plan.folder.log("refresh")
    command = [sys.executable, "-m", "batch_model.worker", "--port", str(port)]
    url = f"http://{LOOPBACK}:{port}"
    variables = {**plan.settings, **(plan.refresh or {}), **_python_environment()}
    return Part("refresh", lambda: command, lambda: _alive(url), log, port, url=f"{url}/metrics", environment=variables)


def worker_note(plan: StackPlan) -> str | None:
    """Return why the refresh worker does not run, None if it does."""
    if plan.refresh is None:
        return "by hand only (`millrace refresh`): no trigger is set, see docs/releases.md"
    missing = missing_packages()
    return f"not installed ({', '.join(missing)}): `make setup-refresh`, then `millrace down` and `millrace up`" if missing else None


def _python_environment() -> dict[str, str]:
    packages = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}


def _alive(url: str) -> bool:
    parts = urlsplit(url)
    host, port = parts.hostname or LOOPBACK, parts.port
    if parts.scheme == "https":
        # It is our own process, asked whether it lives, and told nothing: its certificate need not name the loopback.
        unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - as said above; the standard library has no public way
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=2, context=unchecked)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
