"""Where a Kafka is and how to log in there, in one text, as a Redis has its URL: whatever is given one, passes it on whole. Pure.

`HOST:PORT,…` is a broker without a login. With one: `SASL_SSL://USER@HOST:PORT,…?mechanism=SCRAM-SHA-512&password_file=FILE&ca=FILE`. It
never holds the password: that is in a file, or in the variable `MILLRACE_KAFKA_PASSWORD` of whoever connects.
"""

from __future__ import annotations

import re
from typing import Literal, get_args
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

PASSWORD_VARIABLE = "MILLRACE_KAFKA_PASSWORD"  # noqa: S105 - the name of a variable, not what is in it
_PARAMETERS = ("mechanism", "password_file", "ca", "certificate", "key")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s,/@?:\[\]]+):[0-9]{1,5}")
_QUOTABLE = re.compile(r'[^\x00-\x1f"\\$]{1,256}')


class KafkaAddressError(ValueError):
    """It cannot be used; the message lists all that is wrong."""


class KafkaAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A Kafka: bootstrap servers, and how to log in there. Files are PEM; of a password there is the name of its file, or nothing."""

    servers: str
    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    username: str = ""
    password_file: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def uses_tls(self) -> bool:
        """Whether it is encrypted."""
        return self.protocol.endswith("SSL")

    @property
    def uses_login(self) -> bool:
        """Whether a user and a password are asked for."""
        return self.protocol.startswith("SASL_")

    def text(self) -> str:
        """Return it as one text; `parse_kafka` reads it.

        >>> KafkaAddress(servers="a:1,b:2").text()
        'a:1,b:2'
        >>> parse_kafka(KafkaAddress(servers="a:1", protocol="SSL", ca="/c a").text()).ca
        '/c a'
        """
        if self == KafkaAddress(servers=self.servers):
            return self.servers
        user = f"{quote(self.username, safe='')}@" if self.username else ""
        given = {name: value for name in _PARAMETERS if (value := getattr(self, name))}
        return f"{self.protocol}://{user}{self.servers}{'?' if given else ''}{urlencode(given, quote_via=quote, safe='/')}"

    def problems(self) -> list[str]:
        """Return all that does not go together."""
        known = all(_SERVER.fullmatch(server.strip()) for server in self.servers.split(","))
        found = [] if known else [f"{self.servers!r} are no bootstrap servers, HOST:PORT,…"]
        if self.uses_login:
            found += [] if self.mechanism else [f"{self.protocol} needs a mechanism: {', '.join(get_args(Mechanism))}"]
            found += [] if self.username else [f"{self.protocol} needs a user name"]
        elif self.mechanism or self.username or self.password_file:
            found.append(f"a mechanism, a user name or a password are for SASL_SSL and SASL_PLAINTEXT; the protocol is {self.protocol}")
        if self.username and not _QUOTABLE.fullmatch(self.username):
            found.append("a user name holds no quotation mark, backslash, dollar sign or control character")
        if not self.uses_tls and (self.ca or self.certificate or self.key):
            found.append(f"certificates are for SSL and SASL_SSL; the protocol is {self.protocol}")
        if any(sign in file for file in (self.password_file, self.certificate, self.key) for sign in ":}"):
            found.append(
                "a file of a password, a certificate or a key has neither colon nor closing brace in its path, for Kafka's client in Java"
            )
        if bool(self.certificate) != bool(self.key):
            found.append("a client's certificate and its key belong together: only one of them is given")
        return found


def parse_kafka(text: str) -> KafkaAddress:
    """Return what the text says; without a scheme it is bootstrap servers, and whatever these are shows who connects.

    Raises:
        KafkaAddressError: if it cannot be used.

    >>> parse_kafka("SASL_SSL://me@a:1,b:2?mechanism=PLAIN&password_file=/p").username
    'me'
    """
    scheme, there, rest = text.partition("://")
    if not there:
        return KafkaAddress(servers=text)
    place, _, query = rest.partition("?")
    user, _, servers = place.rpartition("@")
    given = dict(parse_qsl(query, keep_blank_values=True))
    found = [f"there is no parameter {name!r}; there are {', '.join(_PARAMETERS)}" for name in given if name not in _PARAMETERS]
    if ":" in user:
        found.append(f"the password does not belong here: put it into a file, password_file=FILE, or into {PASSWORD_VARIABLE}")
        user = user.partition(":")[0]
    values = {**{name: given[name] for name in _PARAMETERS if name in given}, "username": unquote(user)}
    try:
        address = msgspec.convert({**values, "servers": servers, "protocol": scheme.upper()}, KafkaAddress)
    except msgspec.ValidationError as error:
        raise KafkaAddressError("\n".join([*found, str(error)])) from error
    if found := [*found, *address.problems()]:
        raise KafkaAddressError("\n".join(found))
    return address


def servers_of(text: str) -> str:
    """Return the servers alone, fit for a message.

    >>> servers_of("SASL_SSL://me@a:1,b:2?mechanism=PLAIN"), servers_of("a:1")
    ('a:1,b:2', 'a:1')
    """
    return text.partition("://")[2].partition("?")[0].rpartition("@")[2] if "://" in text else text
