"""The profile `observability`: its configuration is valid, says what docs say, and every name in it exists.

promtool and amtool are run through the images of compose.yaml; every query of the dashboards is sent to a Prometheus that watches a stack.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from schemas.metrics import API, JOBS, REFRESH, shown_by_flink
from tests.containers.compose import Sending, assert_exact, project, tell, wait_until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.containers

FOLDER = ROOT / "docker" / "observability"
DASHBOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
PROMTOOL_TESTS = sorted((FOLDER / "tests").glob("*.test.yml"))
MEMORY_MIB = 700

# What rules and dashboards may ask for beside Millrace's own: names that were seen on the pages of Flink 2.3 (the embedded stack, with
# records running), cAdvisor 0.55, Prometheus and Alertmanager.
FLINK = {
    "flink_jobmanager_numRegisteredTaskManagers", "flink_jobmanager_numRunningJobs",
    "flink_jobmanager_taskSlotsAvailable", "flink_jobmanager_taskSlotsTotal",
    "flink_jobmanager_job_uptime", "flink_jobmanager_job_numRestarts",
    "flink_jobmanager_job_numberOfCompletedCheckpoints", "flink_jobmanager_job_numberOfFailedCheckpoints",
    "flink_jobmanager_job_lastCheckpointCompletedTimestamp", "flink_jobmanager_job_lastCheckpointDuration",
    "flink_jobmanager_job_lastCheckpointFullSize",
    "flink_jobmanager_Status_JVM_Memory_Heap_Used", "flink_jobmanager_Status_JVM_Memory_Heap_Max",
    "flink_jobmanager_Status_JVM_Memory_Metaspace_Used", "flink_jobmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond",
    "flink_taskmanager_Status_JVM_Memory_Heap_Used", "flink_taskmanager_Status_JVM_Memory_Heap_Max",
    "flink_taskmanager_Status_JVM_Memory_Metaspace_Used", "flink_taskmanager_Status_JVM_GarbageCollector_All_TimeMsPerSecond",
    "flink_taskmanager_job_task_busyTimeMsPerSecond", "flink_taskmanager_job_task_backPressuredTimeMsPerSecond",
    "flink_taskmanager_job_task_operator_pendingRecords",
    "flink_taskmanager_job_task_operator_failedCommittables", "flink_taskmanager_job_task_operator_pendingCommittables",
    "flink_taskmanager_job_task_operator_retriedCommittables", "flink_taskmanager_job_task_operator_successfulCommittables",
}  # fmt: skip
CADVISOR = {
    "container_cpu_usage_seconds_total", "container_health_state", "container_last_seen", "container_start_time_seconds",
    "container_memory_rss", "container_memory_working_set_bytes", "container_spec_memory_limit_bytes",
    "container_network_receive_bytes_total", "container_network_transmit_bytes_total",
    "container_fs_limit_bytes", "container_fs_usage_bytes",
    # In cAdvisor's source; the kernel that this was tried on counts no disk accesses for control groups, so they were not seen.
    "container_fs_reads_bytes_total", "container_fs_writes_bytes_total",
    "machine_cpu_cores", "machine_memory_bytes",
}  # fmt: skip
PROMETHEUS = {
    "ALERTS", "ALERTS_FOR_STATE", "up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "prometheus_tsdb_head_series",
    "alertmanager_notifications_total", "alertmanager_notifications_failed_total",
}  # fmt: skip
WORDS = {"by", "without", "on", "ignoring", "and", "or", "unless", "offset", "bool", "group_left", "group_right"}


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    files = sorted((FOLDER / "prometheus" / "rules").glob("*.yml"))
    return [rule for file in files for group in parsed(file)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def panels(path: Path) -> Iterator[tuple[str, str]]:
    """Yield title and query of each panel."""
    for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def metrics_in(query: str) -> set[str]:
    """Return the metrics that a query asks for.

    >>> sorted(metrics_in('sum by (le) (rate(a_bucket{x="y z"}[5m])) / on (t) max(b) > 0'))
    ['a_bucket', 'b']
    """
    bare = re.sub(r'"[^"]*"|#.*', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w:$.])([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return {name for name in names if name not in WORDS and not re.fullmatch(r"\d+[smhd]", name)}


def known() -> set[str]:
    own = {one.name for one in (*API, *REFRESH)} | {shown_by_flink(one) for one in JOBS}
    histograms = {f"{one.name}_{part}" for one in API if one.kind == "histogram" for part in ("bucket", "count", "sum")}
    return own | histograms | {rule["record"] for rule in rules() if "record" in rule} | FLINK | CADVISOR | PROMETHEUS


def default_image(service: str) -> str:
    """Return what a service runs: the image that its variable names, or the pinned one."""
    match = re.fullmatch(r"\$\{(\w+):-([^}]+)\}", parsed(FOLDER / "compose.yaml")["services"][service]["image"])
    assert match, f"{service}: the image is no variable with a default"
    return os.environ.get(match[1]) or match[2]


@functools.cache
def has_image(image: str) -> bool:
    """Say whether the image is here, or can be had."""
    return any(
        subprocess.run(["docker", *how, image], capture_output=True, check=False).returncode == 0
        for how in (["image", "inspect"], ["pull"])
    )


def shell(service: str, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the image of a service, with this folder at /c, as compose.yaml runs it: nothing writable but /tmp."""
    image = default_image(service)
    assert has_image(image), f"no image {image}, and none can be pulled: docker/observability/stand-ins.sh makes one"
    run = ["docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--user", "65534:65534"]
    run += ["--tmpfs", "/tmp:mode=1777,exec", "-v", f"{FOLDER}:/c:ro", "-v", f"{FOLDER / 'alertmanager'}:/etc/alertmanager:ro"]
    run += [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
    return subprocess.run([*run, "--entrypoint", "/bin/sh", image, "-c", command], capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("path", [*DASHBOARDS, "rules"], ids=lambda path: path if isinstance(path, str) else path.stem)
def test_every_metric_exists(path: Path | str) -> None:
    queries = [query for _, query in panels(path)] if isinstance(path, Path) else [rule["expr"] for rule in rules()]
    assert {name for query in queries for name in metrics_in(query)} - known() == set()


def test_prometheus_keeps_what_is_asked_for() -> None:
    jobs = {job["job_name"]: job for job in parsed(FOLDER / "prometheus" / "prometheus.yml")["scrape_configs"]}

    def kept(job: str) -> re.Pattern[str]:
        return re.compile(next(rule["regex"] for rule in jobs[job]["metric_relabel_configs"] if rule.get("action") == "keep"))

    own = {shown_by_flink(one) for one in JOBS}
    used = {name for path in DASHBOARDS for _, query in panels(path) for name in metrics_in(query)}
    used |= {name for rule in rules() for name in metrics_in(rule["expr"])}
    assert {name for name in used & (FLINK | own) if not kept("taskmanager").fullmatch(name)} == set()
    assert {name for name in used & CADVISOR if not kept("cadvisor").fullmatch(name)} == set()
    assert kept("jobmanager").pattern == kept("taskmanager").pattern


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"]
    assert board["editable"] is False
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "prometheus"
            assert panel["targets"], panel["title"]


def test_every_service_is_bounded_and_hardened() -> None:
    compose = parsed(FOLDER / "compose.yaml")
    total = 0
    for name, service in compose["services"].items():
        assert service["profiles"] == ["observability"], name
        assert (service["read_only"], service["cap_drop"], service["restart"]) == (True, ["ALL"], "unless-stopped"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"]["test"], name
        assert "privileged" not in service, name
        assert all(port.startswith("127.0.0.1:${") for port in service.get("ports", [])), name
        assert re.search(r":-[^}]+:v?\d+\.\d+\.\d+\}$", service["image"]), f"{name}: pinned to a version"
        total += int(service["mem_limit"].removesuffix("m"))
    assert total <= MEMORY_MIB


def test_nobody_but_prometheus_reaches_cadvisor() -> None:
    compose = parsed(FOLDER / "compose.yaml")
    assert compose["networks"]["metrics"] == {"internal": True}
    on_it = {name for name, service in compose["services"].items() if "metrics" in service.get("networks", [])}
    assert on_it == {"cadvisor", "prometheus"}
    assert compose["services"]["cadvisor"]["networks"] == ["metrics"]
    assert "ports" not in compose["services"]["cadvisor"]


def test_every_alert_is_documented() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    assert re.findall(r"^### Alert (\w+)$", page, flags=re.MULTILINE) == [rule["alert"] for rule in alerts()]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "action", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#alert-{rule['alert'].lower()}"


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts()])
def test_an_alert_is_shown_to_fire_and_not_to_fire(name: str) -> None:
    checks = [check for file in PROMTOOL_TESTS for test in parsed(file)["tests"] for check in test.get("promql_expr_test", [])]
    about = [check for check in checks if f'alertname="{name}"' in check["expr"]]
    assert any(check["exp_samples"] for check in about)
    assert any(not check["exp_samples"] for check in about)


def test_the_settings_are_documented() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)[:}]", (FOLDER / "compose.yaml").read_text(encoding="utf-8"))) - {"COMPOSE_PROJECT_NAME"}
    assert {name for name in used if f"`{name}`" not in page} == set()


def test_promtool_takes_configuration_and_rules() -> None:
    checked = shell(
        "prometheus", "promtool check config --syntax-only /c/prometheus/prometheus.yml && promtool check rules /c/prometheus/rules/*.yml"
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", PROMTOOL_TESTS, ids=lambda path: path.name.removesuffix(".test.yml"))
def test_the_alerts_fire_when_they_should(path: Path) -> None:
    tried = shell("prometheus", f"promtool test rules /c/tests/{path.name}")
    assert tried.returncode == 0, tried.stdout + tried.stderr


# start.sh is run as it is, with an `alertmanager` that shows its configuration and has amtool judge it.
SHOW = "cat /tmp/alertmanager.yml; amtool check-config /tmp/alertmanager.yml"
START = f"cd /tmp; echo '{SHOW}' >alertmanager; chmod +x alertmanager; PATH=/tmp:$PATH sh /c/alertmanager/start.sh"


@pytest.mark.parametrize("address", ["", "https://hooks.example/T0/B0?token=it's&x=1#y", "http://relay:8080/'\\n: {"])
def test_alertmanager_is_told_the_webhook(address: str) -> None:
    started = shell("alertmanager", START, MILLRACE_ALERT_WEBHOOK=address)
    assert "SUCCESS" in started.stdout, started.stdout + started.stderr
    configuration = yaml.safe_load(started.stdout.split("Checking")[0])
    (receiver,) = configuration["receivers"]
    assert receiver.get("webhook_configs", []) == ([{"url": address}] if address else [])


def test_alertmanager_refuses_what_is_no_address() -> None:
    started = shell("alertmanager", START, MILLRACE_ALERT_WEBHOOK="secret-without-scheme")
    assert started.returncode == 2
    assert "MILLRACE_ALERT_WEBHOOK" in started.stderr
    assert "secret-without-scheme" not in started.stdout + started.stderr


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    """The address of a Prometheus that watches a stack through which events and labels flow."""
    assert has_image(default_image("prometheus"))
    with project("observability") as compose:
        compose.call("build", "jobs", "api", timeout_s=1800)
        compose.start("jobs", "api")
        compose.call("--profile", "observability", "up", "--detach", "--no-build", "--no-deps", "prometheus")
        assert_exact(Sending(compose, "--rate", "100", "--label-delay-s", "1", "--limit", "3000").report())
        url = f"http://127.0.0.1:{compose.variables['MILLRACE_PROMETHEUS_PORT']}"
        for job in ("api", "jobmanager", "taskmanager"):
            wait_until(functools.partial(is_scraped, url, job), f"{job} is scraped")
        yield url


def result_of(url: str, query: str) -> list[Any]:
    answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=10).json()
    assert answer["status"] == "success", f"{query}: {answer}"
    return list(answer["data"]["result"])


def is_scraped(url: str, job: str) -> bool:
    return bool(result_of(url, f'up{{job="{job}"}} == 1'))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_answers_every_query(path: Path, prometheus: str) -> None:
    adapted = {"$__rate_interval": "1m", "$task": ".*", "$service": ".*"}
    asked = [(title, re.sub(r"\$\w+", lambda found: adapted[found[0]], query)) for title, query in panels(path)]
    silent = [title for title, query in asked if not result_of(prometheus, query)]
    tell(f"{path.stem}: {len(asked) - len(silent)} of {len(asked)} queries have data; none for {', '.join(silent) or 'no other'}")
    # Neither containers nor refreshes are watched here; what classify, learn, publish and the API do must show.
    if path.stem == "millrace":
        assert len(silent) < len(asked) / 2
