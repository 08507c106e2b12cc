"""What the user asked for, checked: everything that is wrong is reported at once, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from api.access.start import troubles
from online_model.models import problems_of
from online_model.specification import OWN
from schemas.api_settings import ApiSettings, api_environment, read_api_settings
from schemas.refresh_settings import read_refresh_settings, refresh_environment
from schemas.settings import PREFIX, Settings, SettingsError, as_environment, read_settings
from schemas.worker_settings import read_worker_settings, worker_environment
from stack import kafka
from stack.errors import ConfigurationErrors, StackError
from stack.folders import DataFolder, default_data_dir
from stack.java import find_java_home
from stack.jobs import JOBS
from stack.outside import named_kafka, unreachable
from stack.ports import LOOPBACK, NAMES, choose_ports

T = TypeVar("T")
_API_FILES = ("keys", "tls_certificate", "tls_key")
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - what is compared with them was chosen by the user
_OURS = {
    "kafka": ("kafka", "kafka_controller"),
    "redis": ("redis",),
    "flink": ("flink_rest", "flink_rpc", "flink_blob", "jobmanager_metrics", "taskmanager_metrics"),
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asked for.

    Attributes:
        data_dir: the data folder; None for the default.
        settings: fields of `Settings` that override the environment.
        ports: chosen ports by name (see `stack.ports.NAMES`); 0: any.
        java: None for the packaged JDK, `JAVA_HOME` for what that names, else a Java home.
        kafka: bootstrap servers of a running Kafka; None starts one.
        redis: URL of a running Redis; None starts one.
        flink: `host:port` of a running JobManager; None starts one.
        jobs: which jobs run.
        jobs_only: nothing is started but the jobs, on a Kafka, Redis and Flink that are given and may be away for now.
        environment: where the settings MILLRACE_* are read.
    """

    data_dir: Path | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    java: str | None = None
    kafka: str | None = None
    redis: str | None = None
    flink: str | None = None
    jobs: tuple[str, ...] = JOBS
    jobs_only: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(self.data_dir or default_data_dir(self.environment))


class StackPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A checked wish, as the supervisor reads it from `run/plan.json`; addresses that are None are of parts it starts.

    `api` is the environment of the API alone; `refresh` that of the refresh worker, None if there is nothing for it to do.
    With `jobs_only` others run both, and the cluster runs no other jobs of our names.
    """

    data_dir: str
    settings: dict[str, str]
    ports: dict[str, int]
    java_home: str
    kafka: str | None
    redis: str | None
    flink: str | None
    jobs: tuple[str, ...]
    jobs_only: bool = False
    refresh: dict[str, str] | None = None
    api: dict[str, str] = {}

    def read_api_settings(self) -> ApiSettings:
        """The settings of the API alone."""
        return read_api_settings(self.api)

    @property
    def api_url(self) -> str:
        """Where the API is asked from this machine; empty if somebody else runs it."""
        if self.jobs_only:
            return ""
        settings = self.read_api_settings()
        host = LOOPBACK if settings.host in _EVERYWHERE else settings.host
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if settings.tls_certificate else 'http'}://{shown}:{self.ports['api']}"

    def read_settings(self) -> Settings:
        """The settings for jobs, API and tools."""
        return read_settings(self.settings)

    @property
    def folder(self) -> DataFolder:
        """The data folder."""
        return DataFolder(Path(self.data_dir))

    @property
    def flink_rest(self) -> str:
        """`host:port` of the JobManager."""
        return self.flink or f"{LOOPBACK}:{self.ports['flink_rest']}"


def metrics_urls(plan: StackPlan) -> dict[str, str]:
    """Return where Prometheus finds the metrics of the parts that this stack starts."""
    if plan.jobs_only:
        return {}
    named = {"api": "api"}
    if not plan.flink:
        named |= {"jobmanager": "jobmanager_metrics", "taskmanager": "taskmanager_metrics"}
    if plan.refresh is not None:
        named["refresh"] = "refresh"
    return {part: f"http://{LOOPBACK}:{plan.ports[port]}/metrics" for part, port in named.items()}


def make_plan(wish: Wish) -> StackPlan:
    """Check the wish, choose the ports and return the plan.

    Raises:
        ConfigurationErrors: naming all that is wrong.
    """
    problems: list[str] = []
    folder = wish.folder
    _collect(problems, folder.create)
    java_home = _collect(problems, lambda: find_java_home(wish.java, wish.environment))
    wish = replace(wish, kafka=named_kafka(wish.kafka, wish.environment, problems))
    external = {"kafka": wish.kafka, "redis": wish.redis, "flink": wish.flink}
    problems += [] if wish.jobs_only else unreachable(wish.kafka, wish.redis, wish.flink)
    # Also when another setting is wrong, and a model is not read: all that is wrong is said at once.
    problems += problems_of(str(wish.settings.get("model") or wish.environment.get(f"{PREFIX}MODEL") or OWN))
    problems += [f"There is no job {job!r}: choose from {', '.join(JOBS)}." for job in wish.jobs if job not in JOBS]
    problems += [f"There is no port {name!r}: choose from {', '.join(NAMES)}." for name in wish.ports if name not in NAMES]
    refresh = None if wish.jobs_only else _refresh(wish, problems)
    api = {} if wish.jobs_only else _api(wish, problems)
    needed = (
        set()
        if wish.jobs_only
        else {"api", *(name for part, names in _OURS.items() if not external[part] for name in names), *(["refresh"] if refresh else [])}
    )
    ports: dict[str, int] = {}
    if not problems:
        ports, taken = choose_ports(folder.ports, wish.ports, needed=needed)
        problems += taken
    settings = _settings(wish, folder, ports, problems)
    if problems or java_home is None or settings is None:
        raise ConfigurationErrors(list(dict.fromkeys(problems)))
    return StackPlan(
        data_dir=str(folder.root), settings=as_environment(settings), ports=ports, java_home=str(java_home), jobs=wish.jobs,
        jobs_only=wish.jobs_only, kafka=wish.kafka, redis=wish.redis, flink=wish.flink, refresh=refresh, api=api,
    )  # fmt: skip


def _settings(wish: Wish, folder: DataFolder, ports: Mapping[str, int], problems: list[str]) -> Settings | None:
    addresses = {
        "kafka": wish.kafka or f"{LOOPBACK}:{ports.get('kafka', 0)}",
        "redis": wish.redis or f"redis://{LOOPBACK}:{ports.get('redis', 0)}/0",
    }
    # Absolute: jobs and API run elsewhere. The broker and Redis are those of this stack, unless given.
    artifacts = wish.environment.get(f"{PREFIX}ARTIFACTS") or str(folder.artifacts)
    try:
        settings = read_settings(wish.environment)
        chosen = wish.kafka or f"{PREFIX}TRANSACTION_TIMEOUT_S" in wish.environment
        own_broker = {} if chosen else {"transaction_timeout_s": kafka.TRANSACTION_TIMEOUT_S}
        values = {
            **msgspec.structs.asdict(settings),
            **addresses,
            **own_broker,
            "artifacts": str(Path(artifacts).absolute()),
            **wish.settings,
        }
        return msgspec.convert(values, Settings)
    except (SettingsError, msgspec.ValidationError) as error:
        problems.extend(str(error).splitlines())
        return None


def _api(wish: Wish, problems: list[str]) -> dict[str, str]:
    """Return the environment of the API; its files are named absolutely, since it runs elsewhere."""
    try:
        settings = read_api_settings(wish.environment)
    except SettingsError as error:
        problems.extend(str(error).splitlines())
        return {}
    files = {name: str(Path(value).absolute()) for name in _API_FILES if (value := getattr(settings, name))}
    settings = msgspec.structs.replace(settings, **files)
    problems.extend(troubles(settings))
    return api_environment(settings)


def _refresh(wish: Wish, problems: list[str]) -> dict[str, str] | None:
    """Return the environment of the refresh worker, None if no trigger is set, and nothing that may become stale."""
    found: dict[str, str] = {}
    try:
        found = refresh_environment(read_refresh_settings(wish.environment))
    except SettingsError as error:
        problems.extend(str(error).splitlines())
    try:
        worker = read_worker_settings(wish.environment)
    except SettingsError as error:
        problems.extend(str(error).splitlines())
        return None
    return {**found, **worker_environment(worker)} if worker.has_work else None


def _collect(problems: list[str], check: Callable[[], T]) -> T | None:
    try:
        return check()
    except StackError as error:
        problems.append(str(error))
        return None
