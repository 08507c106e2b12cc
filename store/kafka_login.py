"""Logs in to Kafka: what kafka-python is told, made from the address of a Kafka and the files and the variable that hold its secrets."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from schemas.kafka_address import PASSWORD_VARIABLE, KafkaAddress, KafkaAddressError, parse_kafka

_FIT = re.compile(r'[^\x00-\x1f\x7f"\\]{1,1024}')
_PKCS8 = b"-----BEGIN PRIVATE KEY-----"


class LoginError(KafkaError):  # type: ignore[misc]  # kafka-python has no types
    """The login cannot be made from what is there; whoever runs this must act. No message holds a password."""


def client_options(kafka: str) -> dict[str, Any]:
    """Return the options of a client of kafka-python for the Kafka at this address.

    Raises:
        LoginError: if the address cannot be used, or a file that it names.
    """
    try:
        address = parse_kafka(kafka)
    except KafkaAddressError as error:
        raise LoginError(str(error)) from error
    options: dict[str, Any] = {"bootstrap_servers": [server.strip() for server in address.servers.split(",")]}
    if address.protocol != "PLAINTEXT":
        options["security_protocol"] = address.protocol
    if address.uses_tls:
        options["ssl_context"] = tls_context(address)
    if address.uses_login:
        password = password_of(address)
        options |= {"sasl_mechanism": address.mechanism, "sasl_plain_username": address.username, "sasl_plain_password": password}
    return options


def tls_context(address: KafkaAddress) -> ssl.SSLContext:
    """Return what connections are encrypted with: TLS 1.2 or newer, with the name in the certificate checked.

    Raises:
        LoginError: if a certificate or key cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=address.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if address.certificate:
            # No pass phrase is asked for: nobody sits at the terminal.
            context.load_cert_chain(address.certificate, address.key, password=lambda: b"")
    except OSError as error:
        files = ", ".join(filter(None, (address.ca, address.certificate, address.key)))
        raise LoginError(f"the certificates for Kafka ({files}) cannot be used: {error.strerror or error}") from error
    return context


def password_of(address: KafkaAddress, environment: Mapping[str, str] = os.environ) -> str:
    """Return the password: that of the file, or of the variable.

    Raises:
        LoginError: if it is not there, or holds what Flink's side could not read.
    """
    if address.password_file:
        place = address.password_file
        try:
            password = Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LoginError(f"the file of Kafka's password, {place}, cannot be read: {error}") from error
    else:
        place, password = PASSWORD_VARIABLE, environment.get(PASSWORD_VARIABLE, "")
    if not _FIT.fullmatch(password):
        rule = "one line without a line break at its end, quotation marks or backslashes"
        raise LoginError(f"there is no password for Kafka in {place}: it must hold {rule}, and nothing else")
    return password


def troubles(kafka: str) -> list[str]:
    """Return what keeps this process, or Flink, from logging in; all at once. Whether the broker agrees is another question."""
    try:
        address = parse_kafka(kafka)
    except KafkaAddressError as error:
        return str(error).splitlines()
    found: list[str] = []
    for check in (tls_context if address.uses_tls else None, password_of if address.uses_login else None):
        try:
            if check is not None:
                check(address)
        except LoginError as error:
            found.append(str(error))
    if address.key and not found and _PKCS8 not in Path(address.key).read_bytes():
        found.append(f"{address.key}: Java reads a key in PKCS #8 only, `openssl pkcs8 -topk8 -nocrypt -in KEY -out FILE`")
    return found
