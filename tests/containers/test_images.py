"""The images: small, without root, torch or secrets where nobody needs them; and a wrong configuration, which stops the start."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.containers.compose import Compose, docker, project, tell

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

IMAGES = ("jobs", "api", "refresh")


@pytest.fixture(scope="module")
def stack() -> Iterator[Compose]:
    with project("images") as compose:
        compose.call("build", timeout_s=1800)
        yield compose


def inside(image: str, *command: str) -> str:
    return docker("run", "--rm", "--network", "none", "--read-only", "--entrypoint", command[0], f"millrace-{image}:0.1.0", *command[1:])


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_runs_as_root_and_no_secret_is_inside(stack: Compose, image: str) -> None:
    (found,) = json.loads(docker("image", "inspect", f"millrace-{image}:0.1.0"))
    tell(f"millrace-{image}: {found['Size'] / 1e6:,.0f} MB")
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Healthcheck"]["Test"][0] == "CMD"
    said = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", f"millrace-{image}:0.1.0") + json.dumps(found["Config"])
    assert not [word for word in ("password", "secret", "token", "mr_") if word in said.lower()]
    # It may not look into every folder of the system's, and says so by its exit code.
    looking = "find /opt /etc /usr -xdev -writable -not -type l -print -quit 2>/dev/null || true"
    writable = inside(image, "sh", "-c", looking)
    assert writable == "", "what runs cannot change itself"
    assert inside(image, "sh", "-c", "ls /run/millrace/keys") == ""


@pytest.mark.parametrize(
    ("image", "packages"), [("api", ("torch", "pyflink", "mlflow")), ("jobs", ("torch", "mlflow")), ("refresh", ("pyflink",))]
)
def test_an_image_holds_no_package_that_only_others_need(stack: Compose, image: str, packages: tuple[str, ...]) -> None:
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert inside(image, "python", "-c", code, *packages).strip() == "[]"


def test_a_wrong_configuration_stops_the_start_with_one_message(stack: Compose) -> None:
    wrong = {"MILLRACE_QUALITY_WINDOW": "none", "MILLRACE_API_ITEMS_PER_S": "-1", "MILLRACE_REFRESH_SHARE": "2", "MILLRACE_TASKS": "A"}
    stack.set(**wrong)
    result = stack.call("up", "--detach", "--no-build", check=False)
    assert result.returncode != 0
    said = stack.logs("prepare")
    assert all(name in said for name in wrong), said
    assert {c["Service"] for c in stack.containers() if c["State"] == "running"} == set()
