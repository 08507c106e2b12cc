"""Misconfiguration scans, offline, of Dockerfiles and Compose files: clean, or excepted with a reason."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.containers.compose import ROOT, tell
from tests.containers.scanners import COMPOSE_LINT, Finding, checkov, compose_lint, without_network

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]

BAD_DOCKERFILE = """
FROM python:latest
ADD . /app
ENV AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLE09
RUN apt-get update && apt-get install curl
USER root
"""
BAD_COMPOSE = """
services:
  bad:
    image: redis
    privileged: true
    network_mode: host
    cap_add: [SYS_ADMIN]
    environment: {PASSWORD: hunter22hunter}
    volumes: ["/var/run/docker.sock:/var/run/docker.sock", "/etc:/host"]
  open:
    image: redis:7.4
    ports: ["6379:6379"]
"""


def texts() -> list[Path]:
    """Every file of the container stack that is in the project."""
    kept = subprocess.run(["git", "ls-files", "docker"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    return [ROOT / name for name in ("docker-compose.yml", ".env.example", *kept)]


def lines(findings: list[Finding]) -> str:
    return "\n".join(f"{one.rule} {one.place}: {one.what} ({one.why})" for one in findings)


def test_the_scanners_have_no_network() -> None:
    if not without_network():
        tell("this system lets nobody cut a program off its network: the scanners' proxy is a port that nobody listens at")
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
        cut_off = subprocess.run([*without_network(), sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "unreachable" in cut_off.stderr


def test_checkov_finds_nothing_in_the_images_that_has_no_reason() -> None:
    found, let = checkov(texts())
    assert found == [], lines(found)
    assert not [one for one in let if len(one.why) <= len("No comment provided")], f"an exception without a reason:\n{lines(let)}"
    tell(f"Checkov finds nothing, but for {len(let)} exceptions with a reason")


def test_compose_lint_finds_nothing_in_the_stack_that_has_no_reason() -> None:
    found, let = compose_lint(ROOT / "docker-compose.yml")
    assert found == [], lines(found)
    assert not [one for one in let if not one.why], f"an exception without a reason:\n{lines(let)}"
    tell(f"compose-lint finds nothing, but for {len({(one.rule, one.place) for one in let})} exceptions with a reason")


def test_every_exception_for_a_service_is_still_needed() -> None:
    rules = yaml.safe_load(COMPOSE_LINT.read_text(encoding="utf-8"))["rules"]
    excepted = {(rule, service) for rule, said in rules.items() for service in said.get("exclude_services", {})}
    _, let = compose_lint(ROOT / "docker-compose.yml")
    assert excepted <= {(one.rule, one.place) for one in let}
    # That one rule asks for two limits, and only the one of CPU is not meant.
    assert {rule for rule, said in rules.items() if not said.get("enabled", True)} == {"CL-0026"}
    assert not [one for one in let if "no memory limit" in one.what], lines(let)


def test_a_bad_dockerfile_is_found(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(BAD_DOCKERFILE, encoding="utf-8")
    rules = {one.rule for one in checkov([tmp_path / "Dockerfile"])[0]}
    # No health check, ADD, latest, root; and a secret.
    assert rules >= {"CKV_DOCKER_2", "CKV_DOCKER_4", "CKV_DOCKER_7", "CKV_DOCKER_8"}
    assert any(rule.startswith("CKV_SECRET_") for rule in rules), rules


def test_a_bad_compose_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(BAD_COMPOSE, encoding="utf-8")
    # Exceptions for services that a file does not have are an error.
    (tmp_path / "none.yaml").write_text("rules: {}", encoding="utf-8")
    found, _ = compose_lint(tmp_path / "docker-compose.yml", tmp_path / "none.yaml")
    # Socket, privileged, new privileges, no tag, all addresses, capabilities, a writable root, the host's network; a password, a
    # capability that is the host's, its /etc, no limits.
    wrong = {
        "CL-0001",
        "CL-0002",
        "CL-0003",
        "CL-0004",
        "CL-0005",
        "CL-0006",
        "CL-0007",
        "CL-0008",
        "CL-0020",
        "CL-0024",
        "CL-0025",
        "CL-0026",
    }
    assert {one.rule for one in found} >= wrong
