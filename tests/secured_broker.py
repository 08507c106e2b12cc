"""A broker that asks for TLS and a login, beside the plain listener by which it talks to itself."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka.admin import KafkaAdminClient, UserScramCredentialUpsertion

from stack.jars import ensure_jars
from stack.java import packaged_java_home
from stack.kafka import broker_part
from stack.ports import LOOPBACK, free_ports
from stack.process import Part

USER = "milla"
PASSWORD = "s3cret, with a space; and {braces}"

_MORE = """
listeners=PLAINTEXT://{host}:{plain},SECURED://{host}:{secured},MUTUAL://{host}:{mutual},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{plain},SECURED://{host}:{secured},MUTUAL://{host}:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,MUTUAL:SSL
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.mutual.ssl.client.auth=required
listener.name.secured.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secured.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


class SecuredBroker:
    """The broker, its certificates, and its user."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        _write_pair(folder / "broker.pem", authority.issue_cert(LOOPBACK))
        self.client = folder / "client.pem"
        _write_pair(self.client, authority.issue_cert("client.example"))
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        plain, secured, mutual, controller = free_ports(4)
        self.plain, self.secured, self.mutual = (f"{LOOPBACK}:{port}" for port in (plain, secured, mutual))
        self.part = self._part(folder, plain, controller)
        values = {"host": LOOPBACK, "plain": plain, "secured": secured, "mutual": mutual, "controller": controller, "folder": folder}
        properties = folder / "kafka" / "server.properties"
        kept = [line for line in properties.read_text().splitlines() if not line.startswith(("listeners=", "advertised.l", "listener.s"))]
        properties.write_text("\n".join(kept) + _MORE.format(**values, user=USER, password=PASSWORD))

    def _part(self, folder: Path, plain: int, controller: int) -> Part:
        log = folder / "kafka.log"
        return broker_part(folder / "kafka", plain, controller, log=log, java_home=packaged_java_home(), jars=ensure_jars())

    def start(self) -> None:
        """Start it and make the user."""
        self.part.start()
        self.part.wait_healthy()
        with closing(KafkaAdminClient(bootstrap_servers=self.plain)) as admin:
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                told = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, mechanism, PASSWORD)])
                assert told == {USER: None}

    def variables(self, mechanism: str) -> dict[str, str]:
        """The variables of the login."""
        return {
            "MILLRACE_KAFKA": self.secured,
            "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "MILLRACE_KAFKA_SASL_MECHANISM": mechanism,
            "MILLRACE_KAFKA_USERNAME": USER,
            "MILLRACE_KAFKA_PASSWORD_FILE": str(self.password_file),
            "MILLRACE_KAFKA_CA": str(self.ca),
        }


def _write_pair(path: Path, issued: trustme.LeafCert) -> None:
    """Write key and certificate into one file; Java reads keys in PKCS #8 only."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key + b"".join(blob.bytes() for blob in issued.cert_chain_pems))
