"""A container stack of its own: a project name and ports that nobody else has, and Docker Compose as a user calls it."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from schemas.settings import Settings
from stack.ports import free_ports

ROOT = Path(__file__).parents[2]
PORTS = ("API", "API_GREEN", "KAFKA", "MLFLOW", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")
START_S = 300.0
NEEDED = "The tests of the container stack need a Docker engine and Compose v2 (`docker compose` or `docker-compose`); see CONTRIBUTING.md."


def compose_command() -> list[str]:
    """Return how Compose v2 is called here.

    Raises:
        RuntimeError: if there is none.
    """
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    raise RuntimeError(NEEDED)


class Compose:
    """One project. Its variables hold for every command; `set` changes them."""

    def __init__(self, project: str, variables: Mapping[str, str] | None = None) -> None:
        ports = {f"MILLRACE_{name}_PORT": str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
        self.project = project
        self.variables = {**ports, **(variables or {})}
        self._command = compose_command()

    def set(self, **variables: str) -> None:
        """Change variables, for what is called from now on."""
        self.variables.update(variables)

    def call(self, *arguments: str, timeout_s: float = START_S, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose …` and return what it said."""
        command, environment = self._line(arguments), self.environment()
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT)
        if check and result.returncode != 0:
            raise AssertionError(f"{' '.join(arguments)} ended with {result.returncode}:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `docker compose …` and return the process."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self._line(arguments), env=self.environment(), stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def _line(self, arguments: Sequence[str]) -> list[str]:
        return [*self._command, "--env-file", "/dev/null", "-p", self.project, "-f", str(ROOT / "docker-compose.yml"), *arguments]

    def environment(self) -> dict[str, str]:
        """Return the variables of its commands: what a developer has set, here or in `.env`, must not decide what is tested."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        return {**own, **self.variables, "DOCKER_BUILDKIT": os.environ.get("DOCKER_BUILDKIT", "0")}

    def start(self, *services: str) -> float:
        """Start services (all without a profile if none are named), wait until they are healthy, and return the seconds that took."""
        started = time.monotonic()
        self.call("up", "--detach", "--no-build", *services)
        self.await_healthy()
        return time.monotonic() - started

    def containers(self) -> list[dict[str, Any]]:
        """Return what Compose says of each container."""
        return [json.loads(line) for line in self.call("ps", "--all", "--format", "json").stdout.splitlines() if line.startswith("{")]

    def await_healthy(self, timeout_s: float = START_S) -> None:
        """Wait until every container with a health check that runs is healthy, and none restarts."""

        def troubles() -> list[str]:
            return [
                f"{c['Name']}: {c['State']} {c['Health']} ({c['Status']})"
                for c in self.containers()
                if c["State"] != "exited" and (c["State"] != "running" or c["Health"] not in ("", "healthy"))
            ]

        wait_until(lambda: not troubles(), lambda: f"all is healthy: {troubles()}\n{self.logs()}", timeout_s)

    def container(self, service: str) -> str:
        """Return the name of a service's first container."""
        return next(str(c["Name"]) for c in self.containers() if c["Service"] == service)

    def execute(self, service: str, *command: str, timeout_s: float = START_S, check: bool = True) -> str:
        """Run a command in a service's container, and return what it printed."""
        return self.call("exec", "-T", service, *command, timeout_s=timeout_s, check=check).stdout

    def status(self) -> dict[str, Any]:
        """Return `millrace status --json`, which exits with 1 while something is not healthy."""
        text = self.execute("jobs", "millrace", "status", "--json", check=False)
        return dict(json.loads(text)) if text.startswith("{") else {}

    def logs(self, *services: str, lines: int = 25) -> str:
        """Return the last lines of services' logs."""
        return self.call("logs", "--no-color", "--tail", str(lines), *services, check=False).stdout[-6000:]

    def key(self, name: str = "admin") -> str:
        """Return one of the first API keys."""
        return self.execute("jobs", "cat", f"/run/millrace/first-keys/{name}.key").strip()

    def api(self) -> httpx.Client:
        """Return a client of the API with the first key."""
        url = f"http://127.0.0.1:{self.variables['MILLRACE_API_PORT']}"
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {self.key()}"}, timeout=10)

    @property
    def settings(self) -> Settings:
        """The settings with which a program outside the containers joins this stack; Redis is not published."""
        return msgspec.structs.replace(Settings(), kafka=f"127.0.0.1:{self.variables['MILLRACE_KAFKA_PORT']}")

    def remove(self) -> None:
        """Stop everything, and remove containers, network and volumes."""
        self.call("--profile", "*", "down", "--volumes", "--timeout", "10", "--remove-orphans")


@contextmanager
def project(name: str, variables: Mapping[str, str] | None = None) -> Iterator[Compose]:
    """Yield a project that is gone afterwards, with all that it kept."""
    compose = Compose(f"millrace-{name}-{os.getpid()}", variables)
    try:
        yield compose
    except BaseException:
        sys.stderr.write(compose.logs())
        raise
    finally:
        compose.remove()


def tell(what: str) -> None:
    """Log a line that is the result of a run; `make test-containers` shows it as it comes, and no chatter of libraries."""
    logging.getLogger("containers").warning(what)


def docker(*arguments: str) -> str:
    """Run `docker …` and return what it printed."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True, timeout=120).stdout


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = 120.0, every_s: float = 0.5) -> float:
    """Wait, and return the seconds it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise AssertionError(f"waited {timeout_s:.0f} s until {what if isinstance(what, str) else what()}")
        time.sleep(every_s)
    return time.monotonic() - started


class Sending:
    """`millrace replay` in a container of its own, in the background; its report comes when all has come through."""

    def __init__(self, compose: Compose, *flags: str, file: Path | None = None) -> None:
        place = ["--volume", f"{file.parent}:/demo:ro"] if file else []
        named = [f"/demo/{file.name}"] if file else []
        arguments = ["--profile", "demo", "run", "--rm", "--no-deps", "-T", *place, "demo"]
        self._process = compose.begin(*arguments, "replay", *named, *flags, "--report", "/tmp/report.json")

    @property
    def running(self) -> bool:
        """Whether it still sends or waits."""
        return self._process.poll() is None

    def report(self, timeout_s: float = 600.0) -> dict[str, Any]:
        """Wait for the report and return it."""
        out, err = self._process.communicate(timeout=timeout_s)
        found = re.search(r"^\{$.*^\}$", out, re.MULTILINE | re.DOTALL)
        assert found, f"no report, exit code {self._process.returncode}: {out[-1000:]} {err[-3000:]}"
        return dict(json.loads(found.group(0)))


def assert_exact(report: Mapping[str, Any]) -> None:
    """Check that every event has one prediction and every label its one final state, and that Redis shows what Kafka holds."""
    assert report["unfinished"] == []
    assert (report["predictions"], report["duplicate_predictions"], report["missing_predictions"]) == (report["events_sent"], 0, 0)
    assert sum(report["labels"].values()) == report["labels_sent"]
    assert report["redis_matches_kafka"], report["redis_differences"]
    assert report["model_log_gaps"] == []
