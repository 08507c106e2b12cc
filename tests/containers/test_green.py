"""Another version beside the first: it gets the same events, says the same, and its API takes over without a failed request.

What takes no part, the refresh and its registry, is left out. Figures are printed (`make test-containers` shows them).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import httpx
import pytest

from schemas.parsing import record_parser
from schemas.records import Prediction
from schemas.topics import Topic
from store.committed import read_committed
from tests.containers.compose import Compose, Sending, assert_exact, docker, project, tell, wait_until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]

GREEN = "next"
FIRST = ("jobmanager", "taskmanager", "jobs", "api")
SECOND = ("jobmanager-green", "taskmanager-green", "jobs-green", "mirror-green", "api-green")
EVENTS, UNLABELLED, RATE = 3_000, 300, 100
ASKED_PER_S, ASKED_S, ASKERS = 50, 40.0, 4
PREFIX = "green-"


@pytest.fixture(scope="module")
def stack() -> Iterator[Compose]:
    # A tag of images that are there already, instead of a build of half an hour.
    version = os.environ.get("CONTAINERS_VERSION", "")
    # One partition: both read the labels in the same order, so that their logs and models can be the same.
    variables = {"MILLRACE_GREEN_VERSION": GREEN, "MILLRACE_TOPIC_PARTITIONS": "1", **({"MILLRACE_VERSION": version} if version else {})}
    with project("green", variables) as compose:
        if not version:
            compose.call("build", "jobs", "api", timeout_s=1800)
        images = [f"millrace-{name}" for name in ("jobs", "api")]
        for image in images:
            # Another image of the same code, as a build of another version is.
            build = ["docker", "build", "--quiet", "--tag", f"{image}:{GREEN}", "--label", f"version={GREEN}", "-"]
            source = f"FROM {image}:{version or '0.1.0'}\n"
            subprocess.run(build, input=source, text=True, check=True, capture_output=True, env=compose.environment())
        try:
            tell(f"both versions up and healthy after {start(compose):.0f} s")
            yield compose
        finally:
            compose.remove()
            for image in images:
                docker("image", "rm", "--force", f"{image}:{GREEN}")


def start(compose: Compose) -> float:
    """Start both versions, wait until they are healthy, and return the seconds that took."""
    began = time.monotonic()
    compose.call("--profile", "green", "up", "--detach", "--no-build", *FIRST, *SECOND, timeout_s=600)
    compose.await_healthy(600)
    return time.monotonic() - began


def count(compose: Compose, topic: str) -> int:
    return sum(map(len, read_committed(compose.settings.kafka, topic)))


def event_ids(compose: Compose) -> list[str]:
    parse = record_parser(Prediction)
    return [parse(record.value).event_id for batch in read_committed(compose.settings.kafka, Topic.PREDICTIONS.value) for record in batch]


@contextmanager
def api_of(compose: Compose, variable: str) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{compose.variables[variable]}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {compose.key()}"}, timeout=10) as client:
        yield client


def test_the_same_events_get_the_same_answers(stack: Compose) -> None:
    versions = {c["Service"]: c["Image"].rpartition(":")[2] for c in stack.containers()}
    assert {versions[service] for service in SECOND} == {GREEN}
    assert GREEN not in {versions[service] for service in FIRST}

    flags = ("--rate", str(RATE), "--label-delay-s", "1", "--events", str(EVENTS))
    assert_exact(Sending(stack, *flags).report())
    ended = time.monotonic()
    for topic in (Topic.EVENTS, Topic.FEEDBACK):
        await_copied(stack, topic)
        assert count(stack, PREFIX + topic) == count(stack, topic) == EVENTS
    wait_until(lambda: count(stack, PREFIX + Topic.PREDICTIONS) >= EVENTS, "every copy is answered", 180)
    wait_until(lambda: labels(stack) == [EVENTS, EVENTS], "both have learned every label", 180, every_s=3)
    tell(f"the second version had all of it {time.monotonic() - ended:.0f} s after the first")
    # These are answered by what both have learned from all labels.
    assert_exact(Sending(stack, "--rate", str(RATE), "--label-fraction", "0", "--events", str(UNLABELLED)).report())
    total = EVENTS + UNLABELLED
    wait_until(lambda: count(stack, PREFIX + Topic.PREDICTIONS) >= total, "these are answered twice, too", 180)
    tell(stack.execute("jobs", "millrace", "compare", PREFIX))
    said = compared(stack)
    (task,) = said["tasks"]
    assert (task["both"], task["only"], task["differing"]) == (total, [0, 0], 0)
    assert task["logs"]["changing"] == [EVENTS, EVENTS]
    assert task["same_label"] >= 0.8 * total
    if task["logs"]["same"] == EVENTS:
        assert task["same_model"] >= UNLABELLED
    assert said["refused"] == {"both": 0, "only": [0, 0]}


def await_copied(stack: Compose, topic: Topic) -> None:
    wait_until(lambda: count(stack, PREFIX + topic) >= count(stack, topic), f"{topic} is copied", 180)


def compared(stack: Compose) -> dict[str, Any]:
    return dict(json.loads(stack.execute("jobs", "millrace", "compare", PREFIX, "--json")))


def labels(stack: Compose) -> list[int]:
    """Return how many labels each version has scored."""
    (task,) = compared(stack)["tasks"]
    return [one["labels"] for one in task["standing"]]


def test_the_second_version_repeats_all_that_the_first_one_said(stack: Compose) -> None:
    """From the first one's log: whatever the order of the second one's own, this must be the same to the last digit."""
    audit = stack.call("--profile", "green", "run", "--rm", "--no-deps", "-T", "mirror-green", "audit", "--json").stdout
    found = json.loads(audit)
    assert (found["differences"], found["predictions"]) == ([], EVENTS + UNLABELLED)
    tell(f"the second version repeated {found['predictions']} predictions of the first and {found['snapshots']} snapshots: all equal")
    own = json.loads(stack.execute("jobs-green", "millrace", "audit", "--json"))
    assert (own["differences"], own["predictions"]) == ([], EVENTS + UNLABELLED)


def test_the_second_api_serves_the_same(stack: Compose) -> None:
    with api_of(stack, "MILLRACE_API_PORT") as first, api_of(stack, "MILLRACE_API_GREEN_PORT") as second:
        assert second.get("/readyz").status_code == 200
        for event_id in event_ids(stack)[:: EVENTS // 20]:
            answers = [api.get(f"/v1/predictions/{event_id}") for api in (first, second)]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()


class Asking:
    """A client as a load balancer is one: asks one of two APIs, and the other if that one does not answer."""

    def __init__(self, urls: Sequence[str], key: str, event_ids: Sequence[str]) -> None:
        self._urls, self._ids = list(urls), cycle(event_ids)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.fell_over = 0
        self.failed: list[str] = []

    def ask_for(self, seconds: float) -> None:
        """Ask steadily for so long."""
        threads = [threading.Thread(target=self._ask, args=(seconds, number)) for number in range(ASKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, seconds: float, number: int) -> None:
        every = ASKERS / ASKED_PER_S
        due = time.monotonic() + number * every / ASKERS
        end = time.monotonic() + seconds
        with httpx.Client(headers=self._headers, timeout=httpx.Timeout(10, connect=2)) as client:
            while due < end:
                time.sleep(max(0.0, due - time.monotonic()))
                due += every
                self._once(client)

    def _once(self, client: httpx.Client) -> None:
        with self._lock:
            event_id, urls = next(self._ids), list(self._urls)
        troubles = []
        for url in urls:
            try:
                answer = client.get(f"{url}/v1/predictions/{event_id}")
            except httpx.TransportError as error:
                troubles.append(f"{url}: {error!r}")
                with self._lock:
                    # What does not answer is asked last from here on.
                    self._urls.sort(key=url.__eq__)
                    self.fell_over += 1
                continue
            if answer.status_code == 200 and answer.json()["event_id"] == event_id:
                with self._lock:
                    self.answered[url] += 1
                return
            troubles.append(f"{url}: {answer.status_code}")
        with self._lock:
            self.failed.append("; ".join(troubles))


def test_no_request_fails_while_the_first_api_stops(stack: Compose) -> None:
    urls = [f"http://127.0.0.1:{stack.variables[name]}" for name in ("MILLRACE_API_PORT", "MILLRACE_API_GREEN_PORT")]
    asking = Asking(urls, stack.key(), event_ids(stack))
    thread = threading.Thread(target=asking.ask_for, args=(ASKED_S,))
    began = time.monotonic()
    thread.start()
    wait_until(lambda: asking.answered[urls[0]] > 5 * ASKED_PER_S, "the first API answers", 60)
    stack.call("stop", "api")
    stopped = time.monotonic() - began
    thread.join()
    total = asking.answered.total()
    tell(
        f"{total} requests in {time.monotonic() - began:.0f} s, `api` stopped within {stopped:.0f} s: {asking.answered[urls[0]]} answered "
        f"by it, {asking.answered[urls[1]]} by `api-green`, {asking.fell_over} asked again there, {len(asking.failed)} failed"
    )
    assert asking.failed == []
    assert asking.answered[urls[1]] > 5 * ASKED_PER_S
    assert total >= 0.9 * ASKED_PER_S * ASKED_S


def test_the_trial_ends_and_the_first_version_goes_on(stack: Compose) -> None:
    stack.call("--profile", "green", "rm", "--stop", "--force", *SECOND)
    stack.call("up", "--detach", "--no-build", *FIRST)
    stack.await_healthy()
    assert not {c["Service"] for c in stack.containers()} & set(SECOND)
    before = count(stack, Topic.PREDICTIONS)
    assert_exact(Sending(stack, "--rate", str(RATE), "--label-delay-s", "1", "--events", "300").report())
    assert count(stack, Topic.PREDICTIONS) == before + 300
