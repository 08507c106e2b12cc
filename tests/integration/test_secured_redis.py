"""A real Redis that knows users, and TLS in front of it.

The packed Redis is built without TLS, so that a proxy in this process speaks it, as stunnel does where Redis cannot: our side is the same.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import trustme

from schemas.settings import Settings
from stack.process import Part
from stack.redis import answers
from store.connect import RedisUnavailable, check_redis, connect_redis
from store.reader import RedisReader
from store.writer import RedisWriter

pytestmark = pytest.mark.integration

PASSWORD = "p@ss/word:1"
IN_URL = "p%40ss%2Fword%3A1"
RULES = "~millrace:* +@read +@write +@scripting +@transaction +@connection -@dangerous"
NOW = 1_700_000_000_000


@pytest.fixture
def guarded(redis_part: Part, redis_client: redis.Redis) -> str:
    """Host and port of a Redis that lets in only its administrator, and `milla`, to our keys: as docs/access.md says."""
    redis_client.execute_command("ACL", "SETUSER", "milla", "on", f">{PASSWORD}", *RULES.split())  # type: ignore[no-untyped-call]  # redis-py has no types for it
    redis_client.config_set("requirepass", "of the administrator")
    return redis_part.address


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return file


def use(url: str) -> int | None:
    """Write and read, as the jobs and the API do."""
    with closing(connect_redis(url)) as client:
        check_redis(client)
        writer = RedisWriter(client, recent=5)
        writer.begin_filling()
        writer.mark()
        writer.mark_job("classify", now=NOW)
        assert writer.is_marked()
        return RedisReader(client).job_seen("classify")


def test_a_user_gets_to_our_keys_and_no_others(guarded: str, password_file: Path) -> None:
    for url in (f"redis://milla:{IN_URL}@{guarded}/0", f"redis://milla@{guarded}/0?password_file={password_file}"):
        assert answers(url)
        assert use(url) == NOW
    with closing(connect_redis(f"redis://milla:{IN_URL}@{guarded}/0")) as client:
        for forbidden in (("SET", "other:key", "1"), ("FLUSHALL",), ("CONFIG", "GET", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*forbidden)  # type: ignore[no-untyped-call]  # the same


@pytest.mark.parametrize("login", ["", "milla:wrong@", "nobody:wrong@", ":wrong@"])
def test_a_wrong_login_is_a_message_without_the_password(guarded: str, login: str) -> None:
    with pytest.raises(RedisUnavailable) as caught, closing(connect_redis(f"redis://{login}{guarded}/0")) as client:
        check_redis(client)
    assert "MILLRACE_REDIS" in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert not answers(f"redis://{login}{guarded}/0")


def test_a_password_file_that_is_not_there_or_empty_is_a_message(guarded: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for name, said in (("none", "cannot be read"), ("empty", "is empty")):
        with pytest.raises(RedisUnavailable, match=said):
            connect_redis(f"redis://milla@{guarded}/0?password_file={tmp_path / name}")


def test_the_documented_rules_are_those_that_are_tested() -> None:
    text = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    assert f"ACL SETUSER millrace on >PASSWORD {RULES}" in text


def test_settings_do_not_show_the_password() -> None:
    shown = repr(Settings(redis=f"redis://milla:{IN_URL}@host:1/0"))
    assert IN_URL not in shown
    assert "milla:***@host:1" in shown


class TlsProxy(threading.Thread):
    """Takes TLS connections and hands on what is in them; one thread for each direction."""

    def __init__(self, certificate: trustme.LeafCert, behind: str) -> None:
        super().__init__(daemon=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        host, _, port = behind.partition(":")
        self._behind = (host, int(port))
        self._server = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self._open: list[socket.socket] = []
        self.port = self._server.getsockname()[1]

    def run(self) -> None:
        while True:
            try:
                front, _ = self._server.accept()
            except ssl.SSLError:
                continue  # one that does not believe the certificate
            except OSError:
                return
            back = socket.create_connection(self._behind)
            self._open += [front, back]
            for one, other in ((front, back), (back, front)):
                threading.Thread(target=self._hand_on, args=(one, other), daemon=True).start()

    def _hand_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        for each in (self._server, *self._open):
            each.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def proxy(guarded: str, authority: trustme.CA) -> Iterator[TlsProxy]:
    proxy = TlsProxy(authority.issue_cert("127.0.0.1"), guarded)
    proxy.start()
    yield proxy
    # A listening socket that is only closed does not wake who waits for it.
    with socket.create_connection(("127.0.0.1", proxy.port)):
        proxy.close()


def test_tls_with_an_authority_of_ones_own(proxy: TlsProxy, authority: trustme.CA, password_file: Path, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    login = f"milla@127.0.0.1:{proxy.port}/0?password_file={password_file}"
    url = f"rediss://{login}&ssl_ca_certs={tmp_path / 'ca.pem'}"
    assert use(url) == NOW
    assert answers(url)
    with pytest.raises(RedisUnavailable, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        use(f"rediss://{login}")
    assert not answers(f"rediss://{login}")


def test_a_certificate_for_another_host_is_not_believed(guarded: str, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    proxy = TlsProxy(authority.issue_cert("another.example"), guarded)
    proxy.start()
    try:
        with pytest.raises(RedisUnavailable, match=r"[Hh]ostname mismatch|IP address mismatch"):
            use(f"rediss://milla:{IN_URL}@127.0.0.1:{proxy.port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
    finally:
        with socket.create_connection(("127.0.0.1", proxy.port)):
            proxy.close()
