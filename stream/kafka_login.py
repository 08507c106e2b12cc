"""Logs in to Kafka from Flink: options of the SQL connector in which no password stands.

A table's options get into plans, logs and error messages. So they hold references that Kafka's client itself resolves when it is made, in
the process that connects (KIP-297): to a file, or to the variable `MILLRACE_KAFKA_PASSWORD` of JobManager and TaskManagers.
"""

from __future__ import annotations

from pathlib import PurePath

from schemas.kafka_address import PASSWORD_VARIABLE, KafkaAddress, parse_kafka

_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka.common."
"""The connector brings Kafka's client under names of its own."""
_MODULES = {"PLAIN": "plain.PlainLoginModule", "SCRAM-SHA-256": "scram.ScramLoginModule", "SCRAM-SHA-512": "scram.ScramLoginModule"}
_PROVIDERS = {
    "config.providers": "directory,env",
    "config.providers.directory.class": f"{_SHADED}config.provider.DirectoryConfigProvider",
    "config.providers.env.class": f"{_SHADED}config.provider.EnvVarConfigProvider",
}


def connector_options(kafka: str) -> dict[str, str]:
    """Return the options with which the SQL connector reaches the Kafka at this address.

    >>> connector_options("a:1")
    {'properties.bootstrap.servers': 'a:1'}
    """
    return {f"properties.{name}": value for name, value in client_properties(parse_kafka(kafka)).items()}


def client_properties(address: KafkaAddress) -> dict[str, str]:
    """Return the properties of a Java client."""
    found = {"bootstrap.servers": address.servers}
    if address.protocol != "PLAINTEXT":
        found |= {"security.protocol": address.protocol, **_PROVIDERS}
    if address.uses_tls:
        found |= {"ssl.enabled.protocols": "TLSv1.2,TLSv1.3", **_certificates(address)}
    if address.uses_login and address.mechanism:
        module = f"{_SHADED}security.{_MODULES[address.mechanism]}"
        password = _content(address.password_file) if address.password_file else f"${{env:{PASSWORD_VARIABLE}}}"
        login = f'{module} required username="{address.username}" password="{password}";'
        found |= {"sasl.mechanism": address.mechanism, "sasl.jaas.config": login}
    return found


def _certificates(address: KafkaAddress) -> dict[str, str]:
    found: dict[str, str] = {}
    if address.ca:
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": address.ca}
    if address.certificate:
        chain, key = _content(address.certificate), _content(address.key)
        found |= {"ssl.keystore.type": "PEM", "ssl.keystore.certificate.chain": chain, "ssl.keystore.key": key}
    return found


def _content(file: str) -> str:
    """Return a reference to the content of a file."""
    path = PurePath(file)
    return f"${{directory:{path.parent}:{path.name}}}"
