"""The key file and what is read from it: who may read it, what a damaged one changes, whose a key is."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.access import key_ring
from api.access.browsers import check_host, check_origin
from api.access.guard import role_for
from api.access.key_file import KeyFile, KeyFileError, new_key, read_key_file, write_key_file
from api.access.key_ring import KeyRing, difference
from api.access.roles import expand
from api.access.start import troubles
from api.problems import Problem
from schemas.api_settings import ApiSettings
from schemas.records import KeyRole

pytestmark = pytest.mark.unit

NOW = 1_700_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring looks at its file whenever it is asked, not once a second."""
    monkeypatch.setattr(key_ring, "LOOK_S", 0.0)


def test_a_key_is_random_and_its_file_holds_a_hash_and_nobody_else_may_read_it(path: Path) -> None:
    entry, key = new_key("ana", ("write", "read"), now=NOW)
    other, _ = new_key("ana", ("read",), now=NOW)
    assert (entry.id, entry.sha256) != (other.id, other.sha256)
    write_key_file(path, KeyFile(keys=(entry,)))
    secret = key.removeprefix(f"mr_{entry.id}_")
    assert re.fullmatch("[A-Za-z0-9_-]{43}", secret)
    text = path.read_text()
    assert secret not in text
    assert hashlib.sha256(secret.encode()).hexdigest() in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path).keys == (entry,)
    assert entry.roles == ("read", "write")
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_the_file_is_private_from_its_first_byte(path: Path) -> None:
    old = os.umask(0)
    try:
        write_key_file(path, KeyFile())
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "x" * 65, "ä", "a\n"])
def test_what_is_no_name_of_a_key(name: str) -> None:
    with pytest.raises(KeyFileError, match="a name is 1 to 64"):
        new_key(name, ("read",), now=NOW)


def good_file() -> dict[str, object]:
    return {"v": 1, "keys": [{"id": "0" * 12, "name": "ana", "roles": ["read"], "sha256": "0" * 64, "created": NOW}]}


def spoiled(change: Callable[[dict[str, object]], object]) -> str:
    content = good_file()
    entry = content["keys"][0]  # type: ignore[index]  # a test knows its own data
    change(entry)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"v": 2, "keys": []}', "format 2"),
        ('{"v": 1, "keys": [], "more": 1}', "damaged"),
        (spoiled(lambda entry: entry.update(roles=["owner"])), "damaged"),
        (spoiled(lambda entry: entry.update(roles=[])), "damaged"),
        (spoiled(lambda entry: entry.update(sha256="abc")), "damaged"),
        (spoiled(lambda entry: entry.update(key="mr_000000000000_secret")), "damaged"),
        (json.dumps({"v": 1, "keys": 2 * list(good_file()["keys"])}), "one id"),  # type: ignore[call-overload]  # a test knows its own data
        (" " * (1024 * 1024 + 1), "larger"),
    ],
)
def test_a_damaged_file_is_refused(path: Path, text: str, reason: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=reason):
        read_key_file(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644])
def test_a_file_that_others_may_read_or_change_is_refused(path: Path, mode: int) -> None:
    write_key_file(path, KeyFile())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key_file(path)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none"):
        with pytest.raises(KeyFileError, match=r"is no file|cannot be read"):
            read_key_file(path)


def test_whose_a_key_is(path: Path) -> None:
    ana, anas = new_key("ana", ("admin",), now=NOW)
    bob, bobs = new_key("bob", ("read",), now=NOW, expires=NOW + 10)
    write_key_file(path, KeyFile(keys=(ana, bob)))
    ring = KeyRing(path)
    assert ring.owner(anas, NOW) == ana
    assert (ring.owner(bobs, NOW + 9), ring.owner(bobs, NOW + 10)) == (bob, None)
    mixed = f"mr_{ana.id}_{bobs.rpartition(f'mr_{bob.id}_')[2]}"
    for wrong in (
        "",
        "mr_",
        anas[:-1],
        anas + "x",
        anas.upper(),
        f" {anas}",
        mixed,
        f"mr_{ana.id}_",
        anas.replace(ana.id, "0" * 12),
        "é" * 60,
    ):
        assert ring.owner(wrong, NOW) is None


def test_keys_come_and_go_while_it_runs_and_what_changed_is_told(path: Path) -> None:
    told: list[list[str]] = []
    ana, anas = new_key("ana", ("admin",), now=NOW)
    bob, bobs = new_key("bob", ("read",), now=NOW)
    write_key_file(path, KeyFile(keys=(ana,)))
    ring = KeyRing(path, lambda before, after: told.append(difference(before, after)))
    ring.refresh()
    assert told == []
    write_key_file(path, KeyFile(keys=(ana, bob)))
    assert ring.owner(bobs, NOW) is None
    ring.refresh()
    assert ring.owner(bobs, NOW) == bob
    write_key_file(path, KeyFile(keys=(bob,)))
    ring.refresh()
    assert ring.owner(anas, NOW) is None
    assert told == [[f"+ bob {bob.id} (read)"], [f"- ana {ana.id}"]]


@pytest.mark.parametrize("damage", ["text", "mode", "gone"])
def test_a_file_that_is_damaged_while_it_runs_changes_no_key_and_is_shouted_about(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    ana, anas = new_key("ana", ("admin",), now=NOW)
    write_key_file(path, KeyFile(keys=(ana,)))
    ring = KeyRing(path)
    if damage == "text":
        path.write_text("{")
    elif damage == "mode":
        path.chmod(0o644)
    else:
        path.unlink()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            ring.refresh()
    assert ring.owner(anas, NOW) == ana
    assert ring.trouble is not None
    assert str(path) in ring.trouble
    assert len(caplog.records) == 1
    assert anas not in caplog.text
    write_key_file(path, KeyFile())
    assert ring.look() is None
    assert ring.owner(anas, NOW) is None


def test_the_file_is_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "LOOK_S", 1000.0)
    write_key_file(path, KeyFile())
    ring = KeyRing(path)
    path.unlink()
    started = time.perf_counter()
    for _ in range(10_000):
        ring.refresh()
    assert ring.trouble is None
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("given", "may"),
    [
        (["read"], {"read"}),
        (["write"], {"read", "write"}),
        (["review"], {"read", "review"}),
        (["write", "review"], {"read", "write", "review"}),
        (["admin"], {"read", "write", "review", "admin"}),
        ([], set()),
    ],
)
def test_what_a_role_implies(given: list[KeyRole], may: set[str]) -> None:
    assert expand(given) == may


def test_only_reading_methods_need_the_reading_role() -> None:
    methods = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "NONSENSE")
    assert [role_for(method, "read", "admin") for method in methods] == ["read"] * 3 + ["admin"] * 5


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "a, localhost", "testserver"])
def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(Problem) as caught:
        check_host(host, ("api.example",))
    assert caught.value.status == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "a.localhost:1", "127.0.0.1:8000", "192.0.2.1", "[::1]:80", "api.example:443"]
)
def test_our_names_and_addresses_are_taken(host: str) -> None:
    check_host(host, ("API.example",))


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:8000", "https://localhost:8000.a"]
)
def test_a_page_from_elsewhere_may_not_write(origin: str) -> None:
    with pytest.raises(Problem) as caught:
        check_origin(origin, "localhost:8000", ("https://tools.example",))
    assert caught.value.status == 403


@pytest.mark.parametrize("origin", [None, "http://localhost:8000", "https://LOCALHOST:8000", "https://tools.example"])
def test_programs_our_own_pages_and_those_that_are_listed_may_write(origin: str | None) -> None:
    check_origin(origin, "localhost:8000", ("https://tools.example",))


def test_beyond_loopback_nothing_starts_without_keys_and_all_that_is_wrong_is_said(tmp_path: Path, path: Path) -> None:
    assert troubles(ApiSettings()) == troubles(ApiSettings(host="localhost")) == []
    missing = ApiSettings(host="0.0.0.0", tls_key=str(path))  # noqa: S104 - that it is refused is the point
    [first, second] = troubles(missing)
    assert "millrace keys create NAME --role admin --file FILE" in first
    assert "MILLRACE_API_TLS_CERTIFICATE" in second
    [gone] = troubles(ApiSettings(keys=str(path)))
    assert "no such file" in gone
    ended, _ = new_key("ana", ("admin",), now=1, expires=2)
    write_key_file(path, KeyFile(keys=(ended,)))
    [none_valid] = troubles(ApiSettings(keys=str(path)))
    assert "no valid key" in none_valid
    write_key_file(path, KeyFile(keys=(new_key("ana", ("admin",), now=1)[0],)))
    assert troubles(ApiSettings(host="0.0.0.0", keys=str(path))) == []  # noqa: S104 - with a key it is allowed
    (tmp_path / "no.pem").write_text("no certificate")
    wrong = ApiSettings(tls_certificate=str(tmp_path / "no.pem"), tls_key=str(tmp_path / "no.pem"))
    assert "PEM" in troubles(wrong)[0]
    assert "cannot be read" in troubles(ApiSettings(tls_certificate=str(tmp_path / "none"), tls_key=str(tmp_path / "none")))[0]
