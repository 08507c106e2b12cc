"""A real broker that asks for TLS and a login: every client of ours gets in, Flink's as well, and the password shows nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.parsing import encode
from schemas.records import Event
from schemas.settings import as_environment, read_settings
from schemas.topics import Topic
from stack.kafka import reachable
from stack.outbox import open_producer
from stack.plan import Wish, make_plan
from stack.ports import NAMES
from stack.topics import create_topics, holds_records, is_whole
from store.committed import open_consumer, read_committed
from store.connect import KafkaUnavailable, connect_consumer, connect_producer
from store.kafka_login import troubles
from stream import kafka_login
from stream.environment import Job, Placement, configuration, create_environment
from stream.kafka_ends import add_sink, raw_source
from stream.rows import OUT, out
from tests.flink.conftest import KAFKA_PASSWORD_VARIABLE
from tests.secured_broker import PASSWORD, SecuredBroker

pytestmark = [pytest.mark.flink, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    broker = SecuredBroker(tmp_path_factory.mktemp("secured") / "broker")
    broker.start()
    yield broker
    broker.part.stop()


def variables(broker: SecuredBroker, how: str) -> dict[str, str]:
    """The variables of a login: by a mechanism and a file, by a variable, or by a certificate."""
    if how == "certificate":
        names = ("CERTIFICATE", "KEY")
        pair = {f"MILLRACE_KAFKA_{name}": str(broker.client) for name in names}
        return {"MILLRACE_KAFKA": broker.mutual, "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SSL", "MILLRACE_KAFKA_CA": str(broker.ca), **pair}
    if how == "variable":
        found = broker.variables("PLAIN")
        del found["MILLRACE_KAFKA_PASSWORD_FILE"]
        return {**found, "MILLRACE_KAFKA_PASSWORD": PASSWORD}
    return broker.variables(how)


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "variable", "certificate"])
def test_every_client_of_ours_gets_in(broker: SecuredBroker, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "variable":
        monkeypatch.setenv("MILLRACE_KAFKA_PASSWORD", PASSWORD)
    settings = read_settings({**variables(broker, how), "MILLRACE_TOPIC_PREFIX": f"{how.lower()}-"})
    kafka = settings.kafka
    assert troubles(kafka) == []
    assert reachable(kafka)
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in str(as_environment(settings))
    # What another process is given leads it to the same Kafka.
    assert read_settings(as_environment(settings)) == settings
    events = settings.topic_prefix + Topic.EVENTS
    assert events in create_topics(settings)
    for make in (connect_producer, lambda address: open_producer(address, at_full_speed=True)):
        with closing(make(kafka)) as producer:
            producer.send(events, b"x").get(10)
    for open_one in (connect_consumer, open_consumer):
        with closing(open_one(kafka)) as consumer:
            assert events in consumer.topics()
    assert [record.value for batch in read_committed(kafka, events) for record in batch] == [b"x", b"x"]
    assert (holds_records(settings, Topic.EVENTS), is_whole(settings, Topic.EVENTS)) == (True, True)


def refused(make: Callable[[str], object], kafka: str) -> str:
    with pytest.raises(KafkaUnavailable) as caught:
        make(kafka)
    return str(caught.value)


@pytest.mark.parametrize("wrong", ["password", "user", "authority", "no login", "no tls"])
def test_a_wrong_login_is_a_message_that_says_where_to_look(
    broker: SecuredBroker, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.connect.KAFKA_CONNECT_MS", 2000)
    right = broker.variables("SCRAM-SHA-512")
    (tmp_path / "password").write_text("something else")
    spoiled = {
        "password": {**right, "MILLRACE_KAFKA_PASSWORD_FILE": str(tmp_path / "password")},
        "user": {**right, "MILLRACE_KAFKA_USERNAME": "somebody"},
        "authority": {name: value for name, value in right.items() if name != "MILLRACE_KAFKA_CA"},
        "no login": {"MILLRACE_KAFKA": broker.secured, "MILLRACE_KAFKA_SECURITY_PROTOCOL": "SSL", "MILLRACE_KAFKA_CA": str(broker.ca)},
        "no tls": {"MILLRACE_KAFKA": broker.secured},
    }
    message = refused(connect_consumer, read_settings(spoiled[wrong]).kafka)
    assert "MILLRACE_KAFKA_…" in message
    assert broker.secured in message
    assert "something else" not in message


def test_a_stack_is_planned_with_it_and_its_login_is_tried_first(
    broker: SecuredBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(broker.ca.parent)
    environment = {**broker.variables("SCRAM-SHA-256"), "MILLRACE_KAFKA_CA": "ca.pem", "MILLRACE_KAFKA_PASSWORD_FILE": "password"}
    plan = make_plan(Wish(data_dir=tmp_path, ports=dict.fromkeys(NAMES, 0), kafka=broker.secured, environment=environment))
    assert plan.read_settings().kafka == read_settings(broker.variables("SCRAM-SHA-256")).kafka
    wrong = {**environment, "MILLRACE_KAFKA_USERNAME": "somebody"}
    monkeypatch.setattr("store.connect.KAFKA_CONNECT_MS", 2000)
    with pytest.raises(Exception, match="does not let us in"):
        make_plan(Wish(data_dir=tmp_path, ports=dict.fromkeys(NAMES, 0), kafka=broker.secured, environment=wrong))


@pytest.mark.parametrize("how", ["SCRAM-SHA-512", "variable", "certificate"])
def test_jobs_write_and_read_through_it(broker: SecuredBroker, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The variable of the JVM, which was there before this test.
    monkeypatch.setattr(kafka_login, "PASSWORD_VARIABLE", KAFKA_PASSWORD_VARIABLE)
    if how == "variable":
        monkeypatch.setenv("MILLRACE_KAFKA_PASSWORD", PASSWORD)
    settings = read_settings({**variables(broker, how), "MILLRACE_TOPIC_PREFIX": f"job-{how.lower()}-"})
    create_topics(settings)
    topic = settings.topic_prefix + Topic.EVENTS
    placement = Placement(checkpoints=f"file://{tmp_path}/checkpoints")
    environment = create_environment(configuration(Job.CLASSIFY, settings, placement))
    event = Event(event_id="e1", text="hello")
    sent = environment.streams.from_collection([out(topic, "e1", event, task="default")], OUT)
    add_sink(environment.tables, sent, settings, [Topic.EVENTS, Topic.PREDICTIONS], job=Job.CLASSIFY, exactly_once=True)
    assert PASSWORD not in environment.streams.get_execution_plan()
    environment.streams.execute("write")
    assert [record.value for batch in read_committed(settings.kafka, topic) for record in batch] == [encode(event)]
    source = raw_source(environment.tables, settings, Topic.EVENTS, job=Job.CLASSIFY)
    assert PASSWORD not in source.explain()
    texts = environment.tables.sql_query(f"SELECT DECODE(record_value, 'UTF-8') FROM {source}")  # noqa: S608 - the name is Flink's
    with texts.execute().collect() as rows:
        assert next(rows)[0] == encode(event).decode()
    logs = [path for path in Path(os.environ["FLINK_LOG_DIR"]).rglob("*") if path.is_file()]
    assert logs
    assert not [path for path in logs if PASSWORD in path.read_text(errors="replace")]
