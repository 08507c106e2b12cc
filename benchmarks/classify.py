"""How soon the API classifies: single texts at a steady rate while labels are learned, beside a route that does nothing, and a list.

A broker and a Redis of its own, a model log of a stream's labels, and the API as a program. The texts are sent on time, whether the
answers before have come or not (open loop), from another process than the one that writes labels; a request's time counts from the moment
at which it was due. Both routes are asked in turn, so that what the machine does otherwise is done to both.

With `--stack` it is the API of a whole embedded stack that has learned the labels from its feedback topic and has nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import requests
import uvloop
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from schemas.log import LabelEntry
from schemas.parsing import encode
from schemas.records import FeedbackRef, Position
from schemas.settings import Settings, as_environment
from schemas.topics import Topic, topic_specs
from stack.embedded import Stack
from stack.generator import generate
from stack.kafka import start_broker
from stack.ports import free_ports
from stack.process import Part
from stack.redis import start_redis
from stack.schedule import Plan
from stack.sender import Replay
from store.labelled_files import Row, read_rows

_BATCH = 1000
_SAY_S, _REST_S = 5.0, 30.0
_HEALTH, _CLASSIFY = "/healthz", "/v1/classify"


def main(arguments: list[str]) -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks classify")
    parser.add_argument("--file", type=Path, help="labelled texts; by default the generated stream")
    parser.add_argument("--labels", type=int, default=20_000, help="labels that the model has learned before")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second to each of the two routes")
    parser.add_argument("--label-rate", type=float, default=200.0, help="labels a second that are learned meanwhile")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--stack", action="store_true", help="ask a whole stack, with its jobs on Flink, that learns nothing meanwhile")
    parser.add_argument("--load", metavar="URL", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.load:
        _load(args.load, json.load(sys.stdin), args.rate, args.seconds)
        return
    serving, label_rate = (_idle_stack, 0.0) if args.stack else (_serving, args.label_rate)
    needed = args.labels + int((args.seconds + 60) * args.label_rate)
    rows = list(itertools.islice(_rows(args.file), args.labels)) if args.file else list(generate(needed, seed=1))
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder,
        serving(Path(folder), rows[: args.labels]) as (settings, url, pid),
    ):
        process = psutil.Process(pid)
        print(f"{args.labels:,} labels learned; {len(os.sched_getaffinity(0))} CPUs, load average {os.getloadavg()[0]:.1f}", flush=True)
        with _labels(settings, rows, args.labels, label_rate):
            before = sum(process.cpu_times()[:2])
            told = _asked_by_another_process(url, rows, args)
            took = sum(process.cpu_times()[:2]) - before
        print(f"  the API took {took:.1f} s of CPU time, {took / sum(map(len, told.values())) * 1000:.2f} ms a request, labels and all")
        for route, times in told.items():
            print(f"  {route:13} {_quantiles(times)}")
        print(f"  classify / healthz at the median: {_at(told[_CLASSIFY], 0.5) / _at(told[_HEALTH], 0.5):.2f}")
        _lists(url, rows)


def _rows(path: Path) -> Iterator[Row]:
    return (row for row in read_rows(path) if isinstance(row, Row))


@contextmanager
def _serving(folder: Path, rows: list[Row]) -> Iterator[tuple[Settings, str, int | None]]:
    """Give the settings, and address and process id of an API whose model has learned these rows."""
    broker, redis = start_broker(folder / "kafka"), start_redis(folder / "redis")
    [port] = free_ports(1)
    settings = Settings(kafka=broker.address, redis=f"redis://{redis.address}/0", artifacts=str(folder))
    command = [sys.executable, "-m", "api", "--port", str(port)]
    url, log = f"http://127.0.0.1:{port}", folder / "api.log"
    api = Part("api", lambda: command, lambda: _ready(url), log, port, environment=as_environment(settings))
    try:
        _write_log(settings, rows)
        api.start()
        began = time.monotonic()
        api.wait_healthy()
        print(f"the API classifies {time.monotonic() - began:.1f} s after its start", flush=True)
        yield settings, url, api.pid
    finally:
        for part in (api, redis, broker):
            part.stop()


@contextmanager
def _idle_stack(folder: Path, rows: list[Row]) -> Iterator[tuple[Settings, str, int | None]]:
    """Give the same of a whole stack that has learned these rows, once it has come to rest."""
    stack = Stack(folder, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
    stack.start()
    try:
        settings, url = stack.settings, stack.addresses["api"]
        Replay(kafka=settings.kafka, topic_prefix=settings.topic_prefix, plan=Plan(label_delay_s=0)).send(rows)
        while (seq := _seq(url)) < len(rows):
            print(f"the API's model is at seq {seq:,}, {len(rows):,} labels were sent", flush=True)
            time.sleep(_SAY_S)
        print(f"all is learned; {_REST_S:.0f} s of rest", flush=True)
        time.sleep(_REST_S)
        yield settings, url, stack.pids()["api"]
    finally:
        stack.stop(savepoint=False)


def _seq(url: str) -> int:
    """Return how many entries of the log the API's model has; 0 while it is loaded."""
    answer = requests.post(url + _CLASSIFY, json={"text": "a"}, timeout=30)
    return int(answer.json()["model"]["seq"]) if answer.ok else 0


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/v1/classes", timeout=5).ok
    except requests.RequestException:
        return False


def _write_log(settings: Settings, rows: list[Row]) -> None:
    """Create the topics and write the log, as a learner would."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka)
    specs = topic_specs(partitions=1)
    admin.create_topics([NewTopic(s.topic, num_partitions=s.partitions, replication_factor=1, topic_configs=s.config) for s in specs])
    admin.wait_for_topics([s.topic for s in specs], timeout_ms=30_000)
    admin.close()
    producer = KafkaProducer(bootstrap_servers=settings.kafka, linger_ms=20)
    for seq, row in enumerate(rows, 1):
        entry = _entry(seq, row)
        producer.send(Topic.MODEL_LOG, encode(entry), key=b"default")
    producer.close()


def _entry(seq: int, row: Row) -> LabelEntry:
    return LabelEntry(
        seq=seq,
        task="default",
        time=int(time.time() * 1000),
        event_id=str(seq),
        text=row.text,
        meta={},
        label=row.label or "",
        weight=1.0,
        feedback=FeedbackRef(at=Position(partition=0, offset=seq)),
    )


@contextmanager
def _labels(settings: Settings, rows: list[Row], after: int, rate: float) -> Iterator[None]:
    """Write entries at a steady rate until the block ends."""
    stop = threading.Event()

    def write() -> None:
        producer = KafkaProducer(bootstrap_servers=settings.kafka, linger_ms=0)
        seq, due = after, time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            seq, due = seq + 1, due + 1 / rate
            producer.send(Topic.MODEL_LOG, encode(_entry(seq, rows[seq % len(rows)])), key=b"default")
        producer.close()
        print(f"  {seq - after:,} labels were learned meanwhile")

    thread = threading.Thread(target=write)
    if rate > 0:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if rate > 0:
            thread.join()


def _asked_by_another_process(url: str, rows: list[Row], args: argparse.Namespace) -> dict[str, list[float]]:
    texts = [row.text for row in rows[:2000]]
    command = [sys.executable, "-m", "benchmarks", "classify", "--load", url, "--rate", str(args.rate), "--seconds", str(args.seconds)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    told: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return told


class _Connection:
    """A kept connection that asks one thing after the other; a client library would take longer than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> None:
        """Send a request and read the answer, which must be a 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(head.decode())
        await self._reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def _load(url: str, texts: list[str], rate: float, seconds: float) -> None:
    """Ask both routes at the rate, each request on time, and print the times in s."""
    address = url.removeprefix("http://")
    host, _, port = address.partition(":")
    times: dict[str, list[float]] = {_CLASSIFY: [], _HEALTH: []}
    free: list[_Connection] = []

    async def connected() -> _Connection:
        return _Connection(*await asyncio.open_connection(host, int(port)))

    async def ask(route: str, request: bytes, due: float) -> None:
        connection = free.pop() if free else await connected()
        try:
            await connection.ask(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            # One that was not used for some seconds: the server has closed it.
            connection = await connected()
            await connection.ask(request)
        times[route].append(time.perf_counter() - due)
        free.append(connection)

    async def run() -> None:
        began, asked = time.perf_counter() + 0.5, list[asyncio.Task[None]]()
        for number in range(int(seconds * rate * 2)):
            route, due = (_CLASSIFY, _HEALTH)[number % 2], began + number / rate / 2
            request = _request(address, route, texts[number % len(texts)])
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.append(asyncio.create_task(ask(route, request, due)))
        await asyncio.gather(*asked)

    uvloop.run(run())
    print(json.dumps(times))


def _request(address: str, route: str, text: str) -> bytes:
    if route == _HEALTH:
        return f"GET {route} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    body = json.dumps({"text": text}).encode()
    return f"POST {route} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _lists(url: str, rows: list[Row]) -> None:
    texts, times = [row.text for row in rows[:_BATCH]], []
    with requests.Session() as session:
        for _ in range(20):
            began = time.perf_counter()
            session.post(url + _CLASSIFY, json={"texts": texts}, timeout=30).raise_for_status()
            times.append(time.perf_counter() - began)
    print(f"  a list of {len(texts):,}: {_quantiles(times)}")


def _at(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def _quantiles(times: list[float]) -> str:
    shown = ", ".join(f"p{share * 100:g} {_at(times, share) * 1000:.2f}" for share in (0.5, 0.99))
    return f"{shown}, max {max(times) * 1000:.2f} ms of {len(times):,}"
