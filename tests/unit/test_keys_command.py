"""`millrace keys`, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.access.key_file import read_key_file
from api.access.key_ring import KeyRing
from stack.cli import main
from store.file_lock import FileLock

pytestmark = pytest.mark.unit

NOW = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_API_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setattr("stack.keys_command.time.time_ns", lambda: NOW * 1_000_000)
    return tmp_path / "keys.json"


def made(capsys: pytest.CaptureFixture[str]) -> str:
    """The key that was shown."""
    [key] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mr_")]
    return key


def test_a_key_is_shown_once_and_listed_without_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "ana", "--role", "review", "--role", "write", "--expires", "90d", "--requests-per-s", "7"]) == 0
    key = made(capsys)
    entry = KeyRing(path).owner(key, NOW)
    assert entry is not None
    assert (entry.name, entry.roles, entry.created, entry.expires) == ("ana", ("write", "review"), NOW, NOW + 90 * DAY_MS)
    assert entry.requests_per_s == 7
    assert main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(word in listed for word in ("ana", entry.id, "write, review", "until 2024-02-12", "7 requests/s"))
    assert key not in listed
    assert entry.sha256 not in listed


def test_a_rotated_key_and_its_former_self_are_both_valid_for_a_while(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "ana", "--role", "admin", "--expires", "30d"])
    old = made(capsys)
    assert main(["keys", "rotate", "ana", "--grace", "2h"]) == 0
    new = made(capsys)
    ring = KeyRing(path)
    later = NOW + 2 * 3600 * 1000
    assert [ring.owner(key, later - 1) is not None for key in (old, new)] == [True, True]
    assert [ring.owner(key, later) is not None for key in (old, new)] == [False, True]
    assert {key.expires for key in read_key_file(path).keys} == {later, NOW + 30 * DAY_MS}
    main(["keys", "rotate", "ana", "--grace", "9d"])
    assert len(read_key_file(path).named("ana")) == 3
    assert KeyRing(path).owner(old, later) is None, "a grace is never prolonged"


def test_a_revoked_key_is_gone_by_name_or_by_id(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ana", "bob"):
        main(["keys", "create", name, "--role", "read"])
    main(["keys", "rotate", "ana"])
    [first, _] = read_key_file(path).named("ana")
    assert main(["keys", "revoke", first.id]) == 0
    assert len(read_key_file(path).named("ana")) == 1
    assert main(["keys", "revoke", "ana"]) == 0
    assert [key.name for key in read_key_file(path).keys] == ["bob"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "ana", "--role", "read"], "There is a key named ana"),
        (["create", "a b", "--role", "read"], "a name is"),
        (["rotate", "nobody"], "There is no key 'nobody'"),
        (["revoke", "nobody"], "There is no key 'nobody'"),
        (["list", "--file", "nowhere/keys.json"], "cannot be read"),
        (["create", "bob", "--role", "read", "--file", "nowhere/keys.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    main(["keys", "create", "ana", "--role", "read"])
    before = path.read_bytes()
    capsys.readouterr()
    assert main(["keys", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert path.read_bytes() == before


def test_an_expired_key_is_not_rotated_back_to_life(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["keys", "create", "ana", "--role", "admin", "--expires", "1d"])
    monkeypatch.setattr("stack.keys_command.time.time_ns", lambda: (NOW + DAY_MS) * 1_000_000)
    assert main(["keys", "rotate", "ana"]) == 2
    assert "valid any more" in capsys.readouterr().err


def test_two_commands_do_not_lose_each_others_keys(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = FileLock(path.with_name(".keys.json.lock"))
    lock.acquire("somebody")
    try:
        assert main(["keys", "create", "ana", "--role", "read"]) == 2
    finally:
        lock.release()
    assert "somebody" in capsys.readouterr().err


def test_without_a_file_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MILLRACE_API_KEYS", raising=False)
    assert main(["keys", "list"]) == 2
    assert "--file" in capsys.readouterr().err
