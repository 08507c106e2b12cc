"""The broker: a single node in KRaft mode on loopback."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import subprocess
import uuid
from pathlib import Path

from schemas.kafka_address import KafkaAddressError, parse_kafka
from schemas.topics import MAX_RECORD_BYTES
from stack.errors import PartFailed
from stack.jars import broker_classpath, ensure_jars
from stack.java import COMPILE_LATE, COMPILE_QUICKLY, packaged_java_home
from stack.log4j import log_properties
from stack.ports import LOOPBACK, free_ports
from stack.process import Part
from store.kafka_login import LoginError, tls_context

HEAP_MIB = 512
_PROBE_TIMEOUT_S = 1.0
# ApiVersions request, version 0: key 18, version, correlation id, client id "millrace" (Kafka protocol guide).
_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, 8) + b"millrace"

TRANSACTION_TIMEOUT_S = 24 * 3600
"""A laptop may sleep for a night between a checkpoint and the commit of what it promised."""

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor=1
message.max.bytes={message_max_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.max.timeout.ms={transaction_max_timeout_ms}
transaction.abort.timed.out.transaction.cleanup.interval.ms=10000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
# After a crash the controller refuses the new broker until the old one's session has expired: both are this process.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""


def broker_part(folder: Path, port: int, controller_port: int, *, log: Path, java_home: Path, jars: Path) -> Part:
    """Write the broker's configuration, format its storage if that is new, and return the part, not started.

    Raises:
        PartFailed: if the storage cannot be formatted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    values = {
        "host": LOOPBACK, "port": port, "controller_port": controller_port, "data": data, "message_max_bytes": MAX_RECORD_BYTES,
        "transaction_max_timeout_ms": TRANSACTION_TIMEOUT_S * 1000,
    }  # fmt: skip
    (folder / "server.properties").write_text(_PROPERTIES.format(**values), encoding="utf-8")
    (folder / "log4j2.properties").write_text(log_properties(log), encoding="utf-8")
    java = [str(java_home / "bin" / "java"), "-cp", ":".join(map(str, broker_classpath(jars)))]
    java += [f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"]
    if not (data / "meta.properties").exists():
        _format(java, folder)
    memory = [f"-Xms{HEAP_MIB // 2}m", f"-Xmx{HEAP_MIB}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
    command = [*java, *memory, *COMPILE_LATE, "kafka.Kafka", str(folder / "server.properties")]
    return Part("kafka", lambda: command, lambda: answers(LOOPBACK, port), log, port, out=log.with_suffix(".out"), folder=folder)


def start_broker(folder: Path, port: int | None = None, *, java_home: Path | None = None) -> Part:
    """Start a broker with its data in `folder` and wait until it answers; `part.address` says where.

    The files in `folder` are all it leaves behind; start it there again and the topics are back.

    Raises:
        StackError: if the jars cannot be fetched.
        PartFailed: if it does not come up.
    """
    chosen, controller = free_ports(2)
    jars = ensure_jars()
    part = broker_part(folder, port or chosen, controller, log=folder / "kafka.log", java_home=java_home or packaged_java_home(), jars=jars)
    part.start()
    return part.wait_healthy()


def _format(java: list[str], folder: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22].replace("-", "A")
    quick = [java[0], *COMPILE_QUICKLY, "-Xmx128m", *java[1:]]
    command = [*quick, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(folder / "server.properties")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode != 0:
        raise PartFailed(f"The broker's storage in {folder} could not be formatted: {(result.stderr + result.stdout).strip()[-500:]}")


def answers(host: str, port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a Kafka broker answers there: asks for the versions of its protocol, which needs no login."""
    try:
        with contextlib.ExitStack() as opened:
            plain = opened.enter_context(socket.create_connection((host, port), timeout=_PROBE_TIMEOUT_S))
            connection = opened.enter_context(tls.wrap_socket(plain, server_hostname=host)) if tls else plain
            connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
            head = _received(connection, 10)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">iih", head)[1:] == (1, 0)


def _received(connection: socket.socket, size: int) -> bytes:
    """Return so many bytes, or what came before the end."""
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def reachable(kafka: str) -> bool:
    """Whether at least one broker of a Kafka (`host:port,…`, or an address with a login) answers; whether it lets us in is not asked."""
    try:
        address = parse_kafka(kafka)
        tls = tls_context(address) if address.uses_tls else None
    except (KafkaAddressError, LoginError):
        return False
    for server in address.servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if host and port.isdigit() and answers(host.strip("[]"), int(port), tls):
            return True
    return False
