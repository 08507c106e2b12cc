"""Who may ask the API: keys, roles, names, origins, TLS, against a real server. It needs neither Kafka nor Redis to say no."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from api.__main__ import main
from api.access.gate import is_open
from api.access.key_file import KeyFile, new_key, write_key_file
from api.access.key_ring import LOOK_S
from api.app import create_app
from schemas.api_settings import ApiSettings
from schemas.records import KeyRole
from schemas.settings import Settings

pytestmark = pytest.mark.integration

Serve = Callable[..., AbstractContextManager[httpx.Client]]
NOWHERE = Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0")
ROLES: tuple[KeyRole, ...] = ("read", "write", "review", "admin")


class Keys:
    """A key file with a key of each role."""

    def __init__(self, path: Path) -> None:
        now = time.time_ns() // 1_000_000
        made = {role: new_key(f"{role}er", (role,), now=now) for role in ROLES}
        self.path = path
        self.entries = {role: entry for role, (entry, _) in made.items()}
        self.texts: dict[str, str] = {role: text for role, (_, text) in made.items()}
        self.write()

    def write(self) -> None:
        write_key_file(self.path, KeyFile(keys=tuple(self.entries.values())))

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.texts[role]}"}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys.json")


@pytest.fixture
def guarded(serve: Serve, keys: Keys) -> Iterator[httpx.Client]:
    with serve(NOWHERE, ApiSettings(keys=str(keys.path))) as client:
        yield client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    return body


REACHED = {400, 404, 422, 503}
"""What a request with nothing in it, or without Kafka and Redis, gets behind the gate."""
WHO_MAY = [
    ("GET", "/v1/predictions", {"read", "write", "review", "admin"}),
    ("GET", "/v1/predictions/e1", {"read", "write", "review", "admin"}),
    ("GET", "/v1/labels/e1", {"read", "write", "review", "admin"}),
    ("GET", "/v1/counts", {"read", "write", "review", "admin"}),
    ("GET", "/v1/quality", {"read", "write", "review", "admin"}),
    ("GET", "/v1/models", {"read", "write", "review", "admin"}),
    ("GET", "/v1/models/history", {"read", "write", "review", "admin"}),
    ("POST", "/v1/events", {"write", "admin"}),
    ("POST", "/v1/feedback", {"write", "admin"}),
    ("POST", "/v1/models/rollback", {"admin"}),
    ("POST", "/v1/models/a-line/promote", {"admin"}),
    ("POST", "/v1/models/a-line/split", {"admin"}),
]


@pytest.mark.parametrize(("method", "path", "may"), WHO_MAY)
def test_each_route_lets_in_its_roles_and_no_other(guarded: httpx.Client, keys: Keys, method: str, path: str, may: set[str]) -> None:
    for role in ROLES:
        response = guarded.request(method, path, headers=keys.bearer(role))
        if role in may:
            assert response.status_code in REACHED, (role, response.text)
        else:
            detail = problem(response, 403)["detail"]
            assert re.search(f"needs the role (write|admin); the key {role}er has", detail)
    response = guarded.request(method, path)
    assert "X-API-Key" in problem(response, 401)["detail"]
    assert response.headers["www-authenticate"] == 'Bearer realm="millrace"'


def test_every_route_declares_its_role_and_documents_what_the_gate_answers(keys: Keys) -> None:
    for settings in (ApiSettings(), ApiSettings(keys=str(keys.path))):
        described = create_app(NOWHERE, settings).openapi()
        operations = {(path, method): each for path, verbs in described["paths"].items() for method, each in verbs.items()}
        assert len(operations) > 15
        for (path, method), operation in operations.items():
            if is_open(path):
                assert "x-role" not in operation
                continue
            assert operation.get("x-role") in ROLES, f"{method} {path}: declare `dependencies=needs(…)` on its router"
            assert f"Needs the role `{operation['x-role']}`" in operation["description"]
            assert {"401", "403", "421", "429"} <= set(operation["responses"])
            needed: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, *([] if settings.keys else [{}])]
            assert operation["security"] == needed
        assert operations["/v1/models/rollback", "post"]["x-role"] == "admin"
        assert set(described["components"]["securitySchemes"]) == {"bearer", "header"}


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json"])
def test_what_needs_no_key(guarded: httpx.Client, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/metrics", "/nothing", "/v1", "//v1/me", "/healthz/", "/docs/x"])
def test_all_else_needs_one_even_where_nothing_is(guarded: httpx.Client, keys: Keys, path: str) -> None:
    problem(guarded.get(path), 401)
    assert guarded.get(path, headers=keys.bearer("read")).status_code in (200, 404)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "mr_000000000000_" + "A" * 43},
        {"X-API-Key": ""},
        {"X-API-Key": "x" * 5000},
        {"Authorization": "Bearer \xff\xfe".encode("latin-1")},
    ],
)
def test_a_wrong_key_is_a_401_that_does_not_repeat_it(guarded: httpx.Client, headers: dict[str, Any]) -> None:
    response = guarded.get("/v1/me", headers=headers)
    problem(response, 401)
    assert "AAAA" not in response.text
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_a_key_in_the_url_is_no_key(guarded: httpx.Client, keys: Keys) -> None:
    for name in ("key", "api_key", "token", "X-API-Key"):
        problem(guarded.get("/v1/me", params={name: keys.texts["admin"]}), 401)


def test_two_keys_at_once_are_none(guarded: httpx.Client, keys: Keys) -> None:
    problem(guarded.get("/v1/me", headers=[("X-API-Key", keys.texts["admin"]), ("X-API-Key", keys.texts["read"])]), 401)


def test_who_i_am(guarded: httpx.Client, keys: Keys, serve: Serve) -> None:
    body = guarded.get("/v1/me", headers={"X-API-Key": keys.texts["review"]}).json()
    assert body == {"name": "reviewer", "roles": ["read", "review"], "keys_required": True}
    with serve(NOWHERE) as loopback:
        assert loopback.get("/v1/me").json() == {"name": None, "roles": list(ROLES), "keys_required": False}


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10 * LOOK_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_keys_are_taken_away_and_damage_is_reported_while_it_runs(guarded: httpx.Client, keys: Keys) -> None:
    write = keys.bearer("write")
    assert guarded.get("/v1/me", headers=write).status_code == 200
    del keys.entries["write"]
    keys.write()
    wait_until(lambda: guarded.get("/v1/me", headers=write).status_code == 401)
    assert guarded.get("/v1/me", headers=keys.bearer("read")).status_code == 200
    assert guarded.get("/readyz").json()["parts"]["keys"]["ready"] is True
    keys.path.write_text("{")
    wait_until(lambda: guarded.get("/readyz").json()["parts"]["keys"]["ready"] is False)
    assert "damaged" in guarded.get("/readyz").json()["parts"]["keys"]["detail"]
    assert guarded.get("/v1/me", headers=keys.bearer("read")).status_code == 200
    assert guarded.get("/v1/me", headers=write).status_code == 401


def test_a_browser_is_not_turned_against_a_service_on_loopback(serve: Serve) -> None:
    with serve(NOWHERE) as client:
        problem(client.get("/v1/me", headers={"Host": "evil.example"}), 421)
        problem(client.get("/healthz", headers={"Host": "evil.example"}), 421)
        for origin in ("https://evil.example", "null", "http://127.0.0.1:3000"):
            assert "may not change" in problem(client.post("/v1/events", json={"text": "a"}, headers={"Origin": origin}), 403)["detail"]
            assert "access-control-allow-origin" not in client.get("/v1/me", headers={"Origin": origin}).headers
        own = str(client.base_url).rstrip("/")
        assert client.post("/v1/events", json={"text": "a"}, headers={"Origin": own}).status_code == 503
        problem(client.options("/v1/events", headers={"Origin": own, "Access-Control-Request-Method": "POST"}), 405)


def test_the_pages_of_listed_origins_may_call_it(serve: Serve, keys: Keys) -> None:
    tools = {"Origin": "https://tools.example"}
    with serve(NOWHERE, ApiSettings(keys=str(keys.path), origins=("https://tools.example",), hosts=("api.example",))) as client:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
        allowed = client.options("/v1/events", headers=tools | asked)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://tools.example")
        assert "access-control-allow-credentials" not in allowed.headers
        refused = client.options("/v1/events", headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers
        unknown = client.get("/v1/me", headers=tools)
        problem(unknown, 401)
        assert unknown.headers["access-control-allow-origin"] == "https://tools.example"
        assert client.post("/v1/events", json={"text": "a"}, headers=tools | keys.bearer("write")).status_code == 503
        assert client.get("/v1/me", headers={"Host": "api.example", **keys.bearer("read")}).status_code == 200
        problem(client.get("/v1/me", headers={"Host": "other.example", **keys.bearer("read")}), 421)


def test_every_answer_tells_the_browser_to_be_careful(guarded: httpx.Client, keys: Keys) -> None:
    page = guarded.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    [scripts] = [part for part in policy.split("; ") if part.startswith("script-src")]
    assert "unsafe" not in scripts
    assert "sha256-" in scripts
    data = guarded.get("/v1/me", headers=keys.bearer("read"))
    assert data.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert (data.headers["referrer-policy"], data.headers["cache-control"]) == ("no-referrer", "no-store")


def test_it_speaks_tls_of_a_version_that_is_safe(serve: Serve, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = ApiSettings(tls_certificate=str(tmp_path / "both.pem"), tls_key=str(tmp_path / "both.pem"))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with serve(NOWHERE, settings, verify=trusting) as client:
        assert client.get("/v1/me").json()["keys_required"] is False
        own = str(client.base_url).rstrip("/")
        assert client.post("/v1/events", json={"text": "a"}, headers={"Origin": own}).status_code == 503
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{own}/healthz")
        old = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        # The server hangs up on the greeting, or says why: it is not the client that refuses.
        with pytest.raises(httpx.ConnectError, match=r"EOF occurred|ALERT_PROTOCOL_VERSION"):
            httpx.get(f"{own}/healthz", verify=old)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(own.replace("https", "http") + "/healthz")


def test_all_that_is_wrong_at_the_start_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"MILLRACE_TASKS": "A", "MILLRACE_API_ITEMS_PER_S": "-1"}
    assert main(["--host", "0.0.0.0"], wrong) == 2  # noqa: S104 - that it is refused is the point
    assert [line.partition("=")[0] for line in capsys.readouterr().err.splitlines()] == list(wrong)
    assert main(["--host", "0.0.0.0"], {"MILLRACE_API_TLS_KEY": str(tmp_path / "none")}) == 2  # noqa: S104 - the same
    [keyless, half] = capsys.readouterr().err.splitlines()
    assert "millrace keys create" in keyless
    assert "belong together" in half


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_disturbs_no_other(serve: Serve, keys: Keys) -> None:
    with serve(NOWHERE, ApiSettings(keys=str(keys.path), requests_per_s=1, items_per_s=1)) as client:
        answers = [client.get("/v1/me", headers=keys.bearer("read")) for _ in range(15)]
        assert [answer.status_code for answer in answers].count(200) in (10, 11)
        body = problem(answers[-1], 429)
        assert "key reader" in body["detail"]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20
        assert client.get("/v1/me", headers=keys.bearer("write")).status_code == 200
        strangers = [client.get("/v1/me", headers={"X-API-Key": "wrong"}).status_code for _ in range(15)]
        assert (strangers[0], strangers[-1]) == (401, 429)
        assert all(client.get("/healthz").status_code == 200 for _ in range(15))
        assert client.get("/v1/me", headers=keys.bearer("write")).status_code == 200
        problem(client.post("/v1/events", json=[{"text": "a"}] * 11, headers=keys.bearer("admin")), 413)
        assert client.post("/v1/events", json=[{"text": "a"}] * 9, headers=keys.bearer("admin")).status_code == 503
        limited = client.post("/v1/feedback", json=[{"event_id": "a", "label": "b"}] * 9, headers=keys.bearer("admin"))
        assert "records" in problem(limited, 429)["detail"]
