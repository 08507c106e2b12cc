"""The settings of the login to Kafka: variables of their own, which become part of `Settings.kafka` when the settings are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from schemas.kafka_address import PASSWORD_VARIABLE, KafkaAddress, KafkaAddressError, Protocol, parse_kafka

LOGIN_PREFIX = "MILLRACE_KAFKA_"


class KafkaLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to log in to Kafka. Every field is the environment variable MILLRACE_KAFKA_<NAME IN CAPITALS>.

    Attributes:
        security_protocol: as Kafka calls it.
        sasl_mechanism: how the password is shown: `PLAIN` sends it as it is, so only through TLS; the others prove that it is known.
        username: who logs in.
        password_file: file that holds the password and nothing else, no line break either.
        password: the password, where there is no file; it is read from here by whoever connects, and stands in no other place.
        ca: PEM file of the authorities whose certificates are believed; by default those that the system believes.
        certificate: PEM file of the client's certificate, where brokers ask for one.
        key: PEM file of its private key (PKCS #8, without pass phrase).
    """

    security_protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    username: str = ""
    password_file: str = ""
    password: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""


def with_login(kafka: str, environment: Mapping[str, str]) -> str:
    """Return the address of a Kafka with the login that the variables say; one that says itself how to log in stays as it is.

    Raises:
        KafkaAddressError: naming all that is wrong.

    >>> with_login("a:1", {"MILLRACE_KAFKA_SECURITY_PROTOCOL": "SSL", "MILLRACE_KAFKA_CA": "/ca.pem"})
    'SSL://a:1?ca=/ca.pem'
    >>> with_login("a:1", {})
    'a:1'
    """
    if "://" in kafka:
        return parse_kafka(kafka).text()
    login, problems = _read(environment)
    if login == KafkaLogin():
        if problems:
            raise KafkaAddressError("\n".join(problems))
        return kafka
    address = KafkaAddress(
        servers=kafka, protocol=login.security_protocol, mechanism=login.sasl_mechanism or None, username=login.username,
        password_file=login.password_file, ca=login.ca, certificate=login.certificate, key=login.key,
    )  # fmt: skip
    if login.password and not address.uses_login:
        problems.append(f"{PASSWORD_VARIABLE} is for SASL_SSL and SASL_PLAINTEXT; the protocol is {address.protocol}")
    if address.uses_login and bool(login.password_file) == bool(login.password):
        which = "both are given" if login.password else "neither is given"
        problems.append(f"the login needs {LOGIN_PREFIX}PASSWORD_FILE or {PASSWORD_VARIABLE}: {which}")
    problems += [f"{LOGIN_PREFIX}…: {problem}" for problem in address.problems()]
    if problems:
        raise KafkaAddressError("\n".join(problems))
    return address.text()


def has_login(environment: Mapping[str, str]) -> bool:
    """Whether a variable of the login is set."""
    return any(environment.get(LOGIN_PREFIX + field.name.upper()) for field in msgspec.structs.fields(KafkaLogin))


def _read(environment: Mapping[str, str]) -> tuple[KafkaLogin, list[str]]:
    values: dict[str, object] = {}
    problems: list[str] = []
    for field in msgspec.structs.fields(KafkaLogin):
        name = LOGIN_PREFIX + field.name.upper()
        if text := environment.get(name):
            try:
                values[field.name] = msgspec.convert(text, field.type)
            except msgspec.ValidationError:
                problems.append(f"{name}={text!r}: expected {_choices(field.name)}")
    return msgspec.convert(values, KafkaLogin), problems


def _choices(name: str) -> str:
    schema = msgspec.json.schema(KafkaLogin)["$defs"]["KafkaLogin"]["properties"][name]
    return " or ".join(choice for choice in schema["enum"] if choice)
