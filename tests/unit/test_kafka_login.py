"""How a Kafka is named and logged in to: what goes together, where the password is, and where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from schemas.kafka_address import KafkaAddress, KafkaAddressError, parse_kafka, servers_of
from schemas.kafka_login import KafkaLogin, with_login
from schemas.reference import setting_meanings, settings_page
from schemas.settings import Settings, SettingsError, as_environment, read_settings
from stack.errors import ConfigurationErrors
from stack.plan import Wish, make_plan
from stack.ports import NAMES
from stack.state import Addresses, Phase, StackState, StateFile
from stack.status_view import shown, status_lines
from store.kafka_login import LoginError, client_options, password_of, troubles
from stream.kafka_login import connector_options

pytestmark = pytest.mark.unit

SASL = {
    "MILLRACE_KAFKA": "a:1,b:2",
    "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "MILLRACE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "MILLRACE_KAFKA_USERNAME": "me",
    "MILLRACE_KAFKA_PASSWORD_FILE": "/run/secrets/kafka",
}
FOLDED = "SASL_SSL://me@a:1,b:2?mechanism=SCRAM-SHA-512&password_file=/run/secrets/kafka"


def test_the_variables_become_one_address_that_every_process_reads_alike() -> None:
    settings = read_settings(SASL)
    assert settings.kafka == FOLDED
    assert read_settings(as_environment(settings)) == settings
    # A child has the parent's variables beside the address: the address has said all.
    assert read_settings({**SASL, "MILLRACE_KAFKA_USERNAME": "other", **as_environment(settings)}) == settings


def test_a_password_in_a_variable_stays_there() -> None:
    found = {name: value for name, value in SASL.items() if name != "MILLRACE_KAFKA_PASSWORD_FILE"}
    settings = read_settings({**found, "MILLRACE_KAFKA_PASSWORD": "s3cret"})
    assert settings.kafka == "SASL_SSL://me@a:1,b:2?mechanism=SCRAM-SHA-512"
    assert "s3cret" not in repr(settings) + str(as_environment(settings)) + str(connector_options(settings.kafka))
    assert 'password="${env:MILLRACE_KAFKA_PASSWORD}"' in connector_options(settings.kafka)["properties.sasl.jaas.config"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SECURITY_PROTOCOL": "TLS"}, ["SECURITY_PROTOCOL='TLS'", "PLAINTEXT"]),
        ({"SASL_MECHANISM": "GSSAPI"}, ["SASL_MECHANISM='GSSAPI'", "needs a mechanism"]),
        ({"USERNAME": ""}, ["needs a user name"]),
        ({"USERNAME": 'a"b'}, ["no quotation mark"]),
        ({"PASSWORD_FILE": ""}, ["neither is given"]),
        ({"PASSWORD": "s3cret"}, ["both are given"]),
        ({"SECURITY_PROTOCOL": "SSL", "PASSWORD": "s3cret"}, ["are for SASL_SSL and SASL_PLAINTEXT; the protocol is SSL"]),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "CA": "/ca.pem"}, ["certificates are for SSL and SASL_SSL"]),
        ({"CERTIFICATE": "/c.pem"}, ["belong together"]),
        ({"PASSWORD_FILE": "/a:b"}, ["neither colon nor closing brace"]),
        (
            {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "", "USERNAME": "", "KEY": "/k"},
            ["mechanism", "user", "certif", "belong"],
        ),
    ],
)
def test_what_does_not_go_together_is_said_at_once_with_all_other_settings(change: dict[str, str], said: list[str]) -> None:
    wrong = {**SASL, **{f"MILLRACE_KAFKA_{name}": value for name, value in change.items()}, "MILLRACE_TASKS": "A"}
    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert "MILLRACE_TASKS" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("HTTP://a:1", "HTTP"),
        ("SSL://", "no bootstrap servers"),
        ("SSL://a:1,b", "no bootstrap servers"),
        ("SSL://a:1?nonsense=1", "nonsense"),
        ("SASL_SSL://me:s3cret@a:1?mechanism=PLAIN", "does not belong here"),
        ("SSL://me@a:1", "the protocol is SSL"),
    ],
)
def test_an_address_that_cannot_be_used(address: str, said: str) -> None:
    with pytest.raises(KafkaAddressError, match=said) as caught:
        parse_kafka(address)
    assert "s3cret" not in str(caught.value)
    assert said in "".join(troubles(address))


files = st.text(st.characters(codec="utf-8", exclude_characters="\x00:}"), max_size=20).map(lambda text: f"/{text}")


@given(files, files, files, st.from_regex(r'[^\x00-\x1f"\\$\ud800-\udfff]{1,20}', fullmatch=True))
def test_an_address_comes_back_from_its_text(password: str, ca: str, pair: str, user: str) -> None:
    address = KafkaAddress(
        servers="[::1]:1,host.example:2", protocol="SASL_SSL", mechanism="PLAIN", username=user, password_file=password, ca=ca,
        certificate=pair, key=pair,
    )  # fmt: skip
    assert parse_kafka(address.text()) == address
    assert servers_of(address.text()) == address.servers


@pytest.mark.parametrize("kafka", ["a:1", "a:1, b:2", "nonsense", ""])
def test_without_a_login_the_servers_are_what_they_were(kafka: str) -> None:
    assert with_login(kafka, {}) == kafka
    assert client_options(kafka) == {"bootstrap_servers": [server.strip() for server in kafka.split(",")]}
    assert connector_options(kafka) == {"properties.bootstrap.servers": kafka}


@pytest.mark.parametrize("text", ["", "a\n", 'a"b', "a\\b", "a\x00", "x" * 1025])
def test_a_password_that_java_would_read_otherwise_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "password").write_text(text)
    address = KafkaAddress(servers="a:1", protocol="SASL_SSL", mechanism="PLAIN", username="me", password_file=str(tmp_path / "password"))
    with pytest.raises(LoginError, match="nothing else") as caught:
        password_of(address)
    assert not text.strip() or text not in str(caught.value)
    by_variable = KafkaAddress(servers="a:1", protocol="SASL_SSL", mechanism="PLAIN", username="me")
    with pytest.raises(LoginError, match="MILLRACE_KAFKA_PASSWORD"):
        password_of(by_variable, {"MILLRACE_KAFKA_PASSWORD": text})


def test_what_is_wrong_with_the_files_is_said_at_once(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("me.example")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (tmp_path / "ca.pem").write_text("no certificate")
    both = f"SASL_SSL://me@a:1?mechanism=PLAIN&password_file={tmp_path}/none&ca={tmp_path}/ca.pem"
    certificates, password = troubles(both)
    assert "ca.pem" in certificates
    assert "cannot be read" in password
    # Python reads this key, Java would not.
    [key] = troubles(f"SSL://a:1?certificate={tmp_path}/cert.pem&key={tmp_path}/key.pem")
    assert "PKCS #8" in key


def test_flink_is_given_references_in_place_of_secrets() -> None:
    options = connector_options(f"{FOLDED}&ca=/etc/ca.pem&certificate=/etc/me.pem&key=/etc/me.key")
    login = options["properties.sasl.jaas.config"]
    assert login.endswith('ScramLoginModule required username="me" password="${directory:/run/secrets:kafka}";')
    assert options["properties.ssl.keystore.key"] == "${directory:/etc:me.key}"
    assert options["properties.ssl.truststore.location"] == "/etc/ca.pem"
    assert options["properties.ssl.enabled.protocols"] == "TLSv1.2,TLSv1.3"
    assert options["properties.bootstrap.servers"] == "a:1,b:2"


def test_a_login_without_a_kafka_is_a_mistake(tmp_path: Path) -> None:
    wish = Wish(data_dir=tmp_path, ports=dict.fromkeys(NAMES, 0), environment={"MILLRACE_KAFKA_USERNAME": "me"})
    with pytest.raises(ConfigurationErrors, match="no Kafka is named"):
        make_plan(wish)


def test_what_is_printed_of_a_stack_holds_no_password_and_its_files_are_private(tmp_path: Path) -> None:
    redis = "redis://me:s3cret@host:1/0"
    settings = Settings(kafka=FOLDED, redis=redis)
    state = StackState(
        phase=Phase.RUNNING, pid=1, process_started=1.0, since=1.0, data_dir="d", settings=as_environment(settings),
        addresses=Addresses(kafka=FOLDED, redis=redis, flink_rest="f:1", api="http://a:1", metrics={}),
    )  # fmt: skip
    assert "s3cret" not in str(shown(state))
    assert "Kafka a:1,b:2   Redis redis://me:***@host:1/0" in status_lines(state, now=2.0)[1]
    StateFile(tmp_path / "state.json").write(state)
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_every_setting_of_the_login_is_documented() -> None:
    for name in KafkaLogin.__struct_fields__:
        assert setting_meanings(KafkaLogin)[name]
        assert f"`MILLRACE_KAFKA_{name.upper()}`" in settings_page()
