"""The scanners of the container stack's files, run without a network, and what they find."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.containers.compose import ROOT

PROGRAMS = Path(sys.executable).parents[1] / "scan" / "bin"
CHECKOV = ROOT / "docker" / "scan" / "checkov.yaml"
COMPOSE_LINT = ROOT / "docker" / "scan" / "compose-lint.yaml"
MISSING = "The scanners are not installed: run `make test-containers`, which does it."


class Finding(NamedTuple):
    """What a scanner objects to, and where: a file or a service. Of what was let pass, `why` is the recorded reason."""

    rule: str
    place: str
    what: str
    why: str = ""


@functools.cache
def without_network() -> tuple[str, ...]:
    """Return what is put before a command so that it has no network, not even the loopback; nothing where the system forbids that."""
    for command in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        try:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return ()


def run(program: str, *arguments: str) -> Any:
    """Run a scanner offline, and return the JSON that it printed.

    Raises:
        AssertionError: if it is not installed, or did not come to a judgement: its exit code is neither 0 nor 1.
    """
    command = PROGRAMS / program
    assert command.exists(), MISSING
    # Where there are no namespaces of networks: whatever speaks HTTP is sent to a port that nobody listens at.
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    # What a developer has set must not decide what is judged.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "COMPOSE_"))}
    result = subprocess.run(
        [*without_network(), str(command), *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**own, **nowhere}, timeout=600,
    )  # fmt: skip
    assert result.returncode in (0, 1), f"{program} ended with {result.returncode}:\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return json.loads(result.stdout)


def checkov(files: Sequence[Path]) -> tuple[list[Finding], list[Finding]]:
    """Return what Checkov finds in files, and what comments there tell it to let pass."""
    named = [part for file in files for part in ("--file", str(file))]
    said = run("checkov", "--config-file", str(CHECKOV), *named, "--output", "json")
    results = [one["results"] for one in (said if isinstance(said, list) else [said]) if "results" in one]
    assert results, "Checkov has looked at nothing"
    assert not [error for one in results for error in one["parsing_errors"]]
    found = [Finding(c["check_id"], c["file_path"], c["check_name"]) for one in results for c in one["failed_checks"]]
    let = [
        Finding(c["check_id"], c["file_path"], c["check_name"], c["check_result"]["suppress_comment"])
        for one in results
        for c in one["skipped_checks"]
    ]
    return found, let


def compose_lint(file: Path, configuration: Path = COMPOSE_LINT) -> tuple[list[Finding], list[Finding]]:
    """Return what compose-lint finds in a Compose file and its includes, and what its configuration tells it to let pass."""
    strict = ["--fail-on", "low", "--strict-config", "--no-env", "--no-merge-overrides"]
    said = run("compose-lint", "check", "--config", str(configuration), *strict, "--format", "json", str(file))
    assert said["errors"] == []
    judged = [
        (one["suppressed"], Finding(one["rule_id"], one["service"], one["message"], one.get("suppression_reason") or ""))
        for one in said["findings"]
    ]
    return [finding for let, finding in judged if not let], [finding for let, finding in judged if let]
