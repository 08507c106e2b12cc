"""Whether hostile requests get a clear 4xx, cost no memory, and leave good requests beside them alone.

`python -m benchmarks hostile` starts a Kafka, a Redis and an API of its own; `--url` and `--pid` name an API that runs.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import requests

from benchmarks.hostile_requests import Attack, attacks
from schemas.settings import Settings, as_environment
from stack.kafka import start_broker
from stack.ports import LOOPBACK, free_ports
from stack.redis import start_redis
from stack.topics import create_topics

_ANSWER_S = 30.0
_THREADS = 8
_MIB = 2**20
_WARM_UP = 400
"""Requests of all kinds before the memory is looked at first: what the allocator keeps after the largest is no leak."""
_SLOW_SAYS = b"GET /v1/quality HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Outcome(NamedTuple):
    """What became of the requests: answers by kind and status, those that were wrong, memory in MiB, good requests, slow clients."""

    answers: Counter[tuple[str, str]]
    wrong: list[str]
    rss_before: float
    rss_after: float
    good: int
    good_failed: int
    p99_alone_ms: float
    p99_beside_ms: float
    slow: int
    slow_left: int

    @property
    def ratio(self) -> float:
        """How many times as long good requests take beside hostile ones."""
        return self.p99_beside_ms / self.p99_alone_ms


def main(arguments: list[str]) -> None:
    """Send them, and print what became of them; anything wrong ends it with an error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hostile")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=150, help="hostile requests a second at most (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=100, help="clients that send a head byte by byte, all the while (default: %(default)s)")
    parser.add_argument("--url", help="an API that runs; else one is started")
    parser.add_argument("--pid", type=int, help="its process id")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    if args.url:
        outcome = run(args.url, args.pid, args.requests, rate=args.rate, slow=args.slow, seed=args.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, api_of_its_own(Path(folder)) as (url, pid):
            outcome = run(url, pid, args.requests, rate=args.rate, slow=args.slow, seed=args.seed)
    show(outcome)
    if outcome.wrong or outcome.good_failed or outcome.slow_left:
        sys.exit(1)


def show(outcome: Outcome) -> None:
    """Print what became of the requests."""
    by_kind: dict[str, Counter[str]] = {}
    for (kind, answer), count in outcome.answers.items():
        by_kind.setdefault(kind, Counter())[answer] += count
    for kind, counts in by_kind.items():
        print(f"{kind:>18}: {', '.join(f'{answer} {count}' for answer, count in sorted(counts.items()))}")
    print(f"memory of the API: {outcome.rss_before:.0f} MiB before, {outcome.rss_after:.0f} MiB after")
    print(f"slow clients: {outcome.slow} at a time, {outcome.slow_left} left to be slow for ever")
    print(f"good requests beside them: {outcome.good}, failed {outcome.good_failed}, p99 {outcome.ratio:.1f} times that without the others")
    for line in outcome.wrong[:20]:
        print(f"WRONG: {line}")


def run(url: str, pid: int, count: int, *, rate: float, slow: int, seed: int, good_alone_s: float = 5.0) -> Outcome:
    """Send so many hostile requests to an API on this machine, with good ones beside them, and tell what became of them."""
    parts = urlsplit(url)
    where = (parts.hostname or LOOPBACK, parts.port or 80)
    process = psutil.Process(pid)
    source = attacks(random.Random(seed))  # noqa: S311 - the same attacks each time, no secret
    alone = good_requests(url, good_alone_s)
    _send_all(where, list(islice(source, min(_WARM_UP, count))), rate, Counter(), [])
    before = process.memory_info().rss / _MIB
    answers: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    with multiprocessing.get_context("spawn").Pool(1) as pool, slow_clients(where, slow) as slow_state:
        beside = pool.apply_async(good_requests, (url, max(2.0, count / rate)))
        _send_all(where, islice(source, count), rate, answers, wrong)
        latencies = beside.get()
    return Outcome(
        answers=answers, wrong=wrong, rss_before=before, rss_after=process.memory_info().rss / _MIB, good=len(latencies),
        good_failed=sum(latency is None for latency in latencies), p99_alone_ms=_p99(alone), p99_beside_ms=_p99(latencies), slow=slow,
        slow_left=slow_state[0],
    )  # fmt: skip


def good_requests(url: str, seconds: float) -> list[float | None]:
    """Ask what everybody asks for so long, 20 times a second, and return how long each took (s); None for one that failed."""
    found: list[float | None] = []
    with requests.Session() as session:
        session.trust_env = False
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            path = ("/v1/predictions?limit=5", "/v1/quality", "/v1/events")[len(found) % 3]
            try:
                body = {"text": "hi"} if path == "/v1/events" else None
                answer = session.request("POST" if body else "GET", url + path, json=body, timeout=30)
                found.append(time.perf_counter() - began if answer.ok else None)
            except requests.RequestException:
                found.append(None)
            time.sleep(max(0.0, 0.05 - (time.perf_counter() - began)))
    return found


def _p99(latencies: list[float | None]) -> float:
    known = sorted(latency for latency in latencies if latency is not None)
    return 1000 * known[min(len(known) - 1, int(len(known) * 0.99))]


def _send_all(
    where: tuple[str, int], these: Iterator[Attack] | list[Attack], rate: float, answers: Counter[tuple[str, str]], wrong: list[str]
) -> None:
    began = time.monotonic()

    def one(numbered: tuple[int, Attack]) -> None:
        number, attack = numbered
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        status, is_problem = ask(where, attack.data)
        answers[attack.kind, status] += 1
        closed_rightly = status == "closed" and attack.may_close
        if not (closed_rightly or (status.startswith("4") and is_problem)):
            wrong.append(f"{attack.kind}: {status}: {attack.data[:300]!r}")

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(one, enumerate(these)):
            pass


def ask(where: tuple[str, int], data: bytes) -> tuple[str, bool]:
    """Send bytes and return the status that came back, or `closed`, or `silent`; and whether it is a problem (RFC 9457)."""
    with socket.create_connection(where, timeout=_ANSWER_S) as connection:
        # It may be answered, or closed, before all of it was sent.
        with contextlib.suppress(OSError):
            connection.sendall(data)
        head = b""
        try:
            while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                head += more
        except TimeoutError:
            return "silent", False
        except OSError:
            pass
    status = head[9:12].decode("latin-1") if head.startswith(b"HTTP/1.") else "closed"
    return status, b"application/problem+json" in head


@contextmanager
def slow_clients(where: tuple[str, int], count: int) -> Iterator[list[int]]:
    """Keep so many clients that send a head a byte a second; one that the API lets go of comes back.

    Yields a list whose one number is, in the end, how many the API has not got rid of.
    """
    left, stop = [0], threading.Event()

    def run_all() -> None:
        clients = [_Slow(where) for _ in range(count)]
        while not stop.wait(1.0):
            for client in clients:
                client.step()
        left[0] = sum(client.age > _ANSWER_S for client in clients)
        for client in clients:
            client.socket.close()

    thread = threading.Thread(target=run_all, daemon=True)
    thread.start()
    try:
        yield left
    finally:
        stop.set()
        thread.join(60)


class _Slow:
    """A client that sends a byte each time, and begins anew when it is let go of."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._where = where
        self._connect()

    @property
    def age(self) -> float:
        """How long this connection has been tolerated, s."""
        return time.monotonic() - self._since

    def step(self) -> None:
        """Send one byte more."""
        try:
            self.socket.send(_SLOW_SAYS[self._sent : self._sent + 1] or b"X")
            self._sent += 1
        except OSError:
            self.socket.close()
            self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._where, timeout=_ANSWER_S)
        self._since, self._sent = time.monotonic(), 0


@contextmanager
def api_of_its_own(folder: Path) -> Iterator[tuple[str, int]]:
    """Start a broker, a Redis and an API as programs, and yield the API's URL and process id."""
    broker, redis = start_broker(folder / "kafka"), start_redis(folder / "redis")
    try:
        settings = Settings(kafka=broker.address, redis=f"redis://{redis.address}/0", artifacts=str(folder / "artifacts"))
        create_topics(settings)
        [port] = free_ports(1)
        with serving(settings, port, folder / "api.log") as pid:
            yield f"http://{LOOPBACK}:{port}", pid
    finally:
        redis.stop()
        broker.stop()


@contextmanager
def serving(settings: Settings, port: int, log: Path) -> Iterator[int]:
    """Run the API as a program, and yield its process id once it has read the model log."""
    command = [sys.executable, "-m", "api", "--port", str(port), "--log-file", str(log)]
    process = subprocess.Popen(command, env={**os.environ, **as_environment(settings)})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"http://{LOOPBACK}:{port}/v1/models", timeout=5).ok:
                    break
            except requests.RequestException:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API did not start: {log}")
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)
