"""The files of the container stack agree with the code: every setting gets in, nothing is privileged, what is said of them holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from schemas.api_settings import API_PREFIX, ApiSettings
from schemas.compose_settings import ComposeSettings, read_compose_settings
from schemas.kafka_login import LOGIN_PREFIX, KafkaLogin
from schemas.reference import COMPOSE_DEFAULTS, OFFICIAL_IMAGES, SET_BY_COMPOSE
from schemas.refresh_settings import REFRESH_PREFIX, RefreshSettings
from schemas.settings import PREFIX, Settings, SettingsError
from schemas.topics import MAX_RECORD_BYTES
from schemas.worker_settings import WorkerSettings
from stack.kafka import TRANSACTION_TIMEOUT_S

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LIMIT_MIB = 8192
DOCKERFILES = sorted((ROOT / "docker").rglob("*Dockerfile*"))


def names(*kinds: tuple[type[msgspec.Struct], str]) -> set[str]:
    return {prefix + field.name.upper() for kind, prefix in kinds for field in msgspec.structs.fields(kind)}


def test_every_setting_reaches_the_containers() -> None:
    jobs = names((Settings, PREFIX), (KafkaLogin, LOGIN_PREFIX))
    api = names((ApiSettings, API_PREFIX))
    refresh = names((RefreshSettings, REFRESH_PREFIX), (WorkerSettings, REFRESH_PREFIX))
    fixed = set(SET_BY_COMPOSE)
    for service in ("jobs", "taskmanager", "jobmanager", "api", "refresh", "demo", "prepare"):
        assert jobs - fixed <= SERVICES[service]["environment"].keys(), service
    for service in ("api", "prepare"):
        assert api - fixed <= SERVICES[service]["environment"].keys(), service
    for service in ("refresh", "jobs", "prepare"):
        assert refresh - fixed <= SERVICES[service]["environment"].keys(), service


def test_the_defaults_of_the_compose_file_are_those_that_are_documented() -> None:
    documented = {PREFIX + name.upper(): value for name, value in msgspec.structs.asdict(ComposeSettings()).items()}
    documented |= COMPOSE_DEFAULTS | dict(OFFICIAL_IMAGES)
    used = re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT)
    assert used
    for name, default in used:
        if name in documented:
            known = documented[name]
            assert (f"{known:g}" if isinstance(known, float) else str(known)) == default, name
    for name in documented.keys() - COMPOSE_DEFAULTS.keys():
        assert name in TEXT + (ROOT / "docker" / "observability" / "compose.yaml").read_text(encoding="utf-8"), f"{name} changes nothing"


def test_a_wrong_variable_of_the_stack_is_named() -> None:
    wrong = {"MILLRACE_TASKMANAGERS": "0", "MILLRACE_KAFKA_MEMORY": "much", "MILLRACE_API_PORT": ""}
    with pytest.raises(SettingsError, match=r"(?s)MILLRACE_KAFKA_MEMORY='much'.*MILLRACE_TASKMANAGERS='0'"):
        read_compose_settings(wrong)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_service_is_limited_unprivileged_and_watched(service: str) -> None:
    one = SERVICES[service]
    assert one["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in one["security_opt"]
    assert "mem_limit" in one
    assert one["pids_limit"] > 0
    assert "healthcheck" in one
    assert one["restart"] == ("no" if service in ("prepare", "demo") else "unless-stopped")
    assert one["read_only"] is (service != "kafka")
    # What asks for no login and can do more than take records stays on the loopback, whatever is set.
    address = "${MILLRACE_PUBLISH:-127.0.0.1}:" if service.startswith(("api", "kafka")) else "127.0.0.1:"
    assert all(port.startswith(address) for port in one.get("ports", []))
    assert one["logging"]["options"]["max-size"]


def test_everything_together_fits_eight_gibibytes() -> None:
    observability = yaml.safe_load((ROOT / "docker" / "observability" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    # `prepare` has ended by then, `demo` runs for a while only, and `green` is a second set of jobs for a trial: its limits come on top.
    running = [
        one
        for name, one in {**SERVICES, **observability}.items()
        if name not in ("prepare", "demo") and "green" not in one.get("profiles", ())
    ]
    sizes = [re.fullmatch(r"(?:\$\{\w+:-)?(\d+)m\}?", one["mem_limit"]) for one in running]
    assert all(sizes), sizes
    assert sum(int(size[1]) for size in sizes if size) <= LIMIT_MIB


def test_the_profile_green_shares_what_it_serves_and_nothing_that_it_writes() -> None:
    green = {name: one for name, one in SERVICES.items() if "green" in one.get("profiles", ())}
    assert green.keys() == {"api-green", "jobmanager-green", "taskmanager-green", "jobs-green", "mirror-green"}
    assert all(one["image"].endswith(":${MILLRACE_GREEN_VERSION:-0.1.0}") for one in green.values())
    for name in ("api", "mirror"):
        assert green[f"{name}-green"]["environment"].get("MILLRACE_TOPIC_PREFIX") is None, "it serves, or reads, the first topics"
    for name in ("jobmanager", "taskmanager", "jobs"):
        first, second = SERVICES[name], green[f"{name}-green"]
        assert second["environment"]["MILLRACE_TOPIC_PREFIX"] == "green-"
        assert second["environment"].keys() == first["environment"].keys() - {"MILLRACE_API_KEYS"}
        assert second["mem_limit"] == first["mem_limit"]
        volumes = {volume.partition(":")[0] for volume in second["volumes"]}
        assert volumes <= {"state-green", "artifacts-green", "cache", "work"}
        assert "jobmanager" not in second.get("depends_on", ())
    assert green["jobs-green"]["environment"]["MILLRACE_FLINK"] == "jobmanager-green:8081"
    assert [name for name, one in green.items() if one.get("ports")] == ["api-green"]


def test_the_broker_is_told_what_the_embedded_one_is_told() -> None:
    kafka = SERVICES["kafka"]["environment"]
    assert int(kafka["KAFKA_MESSAGE_MAX_BYTES"]) == MAX_RECORD_BYTES
    assert int(kafka["KAFKA_TRANSACTION_MAX_TIMEOUT_MS"]) == TRANSACTION_TIMEOUT_S * 1000


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_hadolint_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run(
        [str(program), "--config", str(ROOT / "docker" / "hadolint.yaml"), str(file)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_the_build_sees_no_secret_and_no_history() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    assert "*" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert not {".git", ".env", ".venv", "tests"} & set(allowed)
    assert shutil.which("git")
