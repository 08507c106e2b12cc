"""The review queue over HTTP, with a real broker and a real Redis: claims, opinions, the random slice, Label Studio."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from online_model.review.chance import is_random
from schemas.records import Prediction, State
from schemas.settings import Settings
from stack.process import Part
from tests.integration.played_ledger import PlayedLedger, deciding, prediction

pytestmark = pytest.mark.integration

Serve = Callable[[Settings], AbstractContextManager[httpx.Client]]
Answer = dict[str, Any]
T = TypeVar("T")
TOPICS = ("refund for order", "parcel is late", "app crashes at start", "password forgotten")


@pytest.fixture
def settings(redis_part: Part, kafka: str, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        redis=f"redis://{redis_part.address}/0", kafka=kafka, topic_prefix=topic_prefix, artifacts=str(tmp_path), review_random_share=0.0
    )


@pytest.fixture
def stack(settings: Settings, serve: Serve) -> Iterator[Callable[..., tuple[httpx.Client, PlayedLedger]]]:
    """Starts an API, and what decides its labels, on some predictions."""
    with ExitStack() as ends:

        def start(predictions: list[Prediction], **changes: Any) -> tuple[httpx.Client, PlayedLedger]:
            changed = msgspec.structs.replace(settings, **changes)
            ledger = ends.enter_context(deciding(PlayedLedger(changed, predictions)))
            return ends.enter_context(serve(changed)), ledger

        yield start


def some(count: int) -> list[Prediction]:
    """Predictions, the later ones with more doubt."""
    return [
        prediction(f"e/{n}", f"{TOPICS[n % 4]} {n}", {"a": round(0.95 - n / count / 2, 3), "b": round(0.05 + n / count / 2, 3)})
        for n in range(count)
    ]


def until(ask: Callable[[], T], good: Callable[[T], Any]) -> T:
    deadline = time.monotonic() + 60
    while not good(answer := ask()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def asked(api: httpx.Client, reviewer: str) -> Answer | None:
    """What a reviewer is asked about, once the index is there."""
    response = until(lambda: api.get("/v1/review/next", params={"reviewer": reviewer}), lambda answer: answer.status_code != 503)
    assert response.status_code == 200, response.text
    item: Answer | None = response.json()["item"]
    return item


def sure(api: httpx.Client, reviewer: str) -> Answer:
    """The same, where something is to come."""
    item = until(lambda: asked(api, reviewer), lambda found: found is not None)
    assert item is not None
    return item


def labelled(api: httpx.Client, item: Answer, reviewer: str, **said: str) -> httpx.Response:
    return api.post(f"/v1/review/{item['event_id']}/label", json={"reviewer": reviewer, "claim": item["claim"], **said})


def test_reviewers_of_two_processes_are_never_asked_the_same_at_once(
    stack: Callable[..., tuple[httpx.Client, PlayedLedger]], settings: Settings, serve: Serve
) -> None:
    api, ledger = stack(some(30))
    with serve(settings) as other, ThreadPoolExecutor(6) as threads:
        for each in (api, other):
            until(lambda each=each: each.get("/v1/review/stats").status_code, lambda status: status == 200)  # type: ignore[misc]  # bound at once

        def review(name: str) -> list[str]:
            """Ask and label until there is nothing left; ask twice each time, as a page does that is loaded again."""
            done = []
            client = (api, other)[int(name[-1]) % 2]
            while (item := asked(client, name)) is not None:
                assert asked(client, name) == item, "what is open is asked again"
                assert labelled(client, item, name, label="new label" if item["event_id"] == "e/7" else "b").status_code == 202
                done.append(item["event_id"])
            return done

        done = [event for events in threads.map(review, [f"reviewer-{n}" for n in range(6)]) for event in events]
    assert sorted(done) == sorted(p.event_id for p in some(30)), "each event once"
    until(lambda: len(ledger.states), lambda count: count == 30)
    assert {state.state for state in ledger.states} == {State.TRAINED}
    assert {(record.source, record.drawn) for record in ledger.feedback} <= {
        ("review", slice_) for slice_ in ("uncertain", "diverse", "new")
    }
    assert {record.reviewer for record in ledger.feedback} <= {f"reviewer-{n}" for n in range(6)}
    stats = until(lambda: api.get("/v1/review/stats").json(), lambda answer: answer["reviewed"] == 30 and not any(answer["queue"].values()))
    assert list(stats["queue"]) == ["wrong", "random", "uncertain", "diverse", "new"]
    assert sum(row["labels"] for row in stats["reviewers"]) == 30
    receipt = api.get("/v1/labels/e/7").json()
    assert (receipt["truth"], receipt["history"][-1]["feedback"]["drawn"] is not None) == ("new label", True)


def test_an_expired_claim_holds_unless_somebody_else_has_the_event(stack: Callable[..., tuple[httpx.Client, PlayedLedger]]) -> None:
    api, ledger = stack(some(1), review_claim_s=1)
    mine = sure(api, "ann")
    assert (mine["why"] in {"uncertain", "diverse", "new"}, mine["label"], mine["confidence"]) == (True, "a", 0.95)
    assert asked(api, "bob") is None, "it is kept for ann"
    theirs = sure(api, "bob")
    assert theirs["event_id"] == mine["event_id"]
    refused = labelled(api, mine, "ann", label="b")
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    # bob's claim ends as well; nobody has taken the event since.
    until(lambda: labelled(api, mine, "ann", label="b"), lambda answer: answer.status_code == 202)
    again = labelled(api, mine, "ann", label="b").json()
    assert again["ids"] == [mine["claim"]]
    until(lambda: [state.state for state in ledger.states], lambda states: states == [State.TRAINED, State.DUPLICATE])


def test_who_skips_is_not_asked_again_and_others_are(stack: Callable[..., tuple[httpx.Client, PlayedLedger]]) -> None:
    api, _ = stack(some(2))
    first = sure(api, "ann")
    skipped = api.post(f"/v1/review/{first['event_id']}/skip", json={"reviewer": "ann", "claim": first["claim"]})
    assert (skipped.status_code, skipped.json()) == (200, {"event_id": first["event_id"]})
    second = sure(api, "ann")
    assert second["event_id"] != first["event_id"]
    assert sure(api, "bob")["event_id"] == first["event_id"]
    assert labelled(api, second, "ann", label="b").status_code == 202
    assert asked(api, "ann") is None


def test_several_reviewers_are_asked_until_two_agree_and_that_label_stands(
    stack: Callable[..., tuple[httpx.Client, PlayedLedger]],
) -> None:
    api, ledger = stack(some(1), review_labels_per_event=2, review_second_share=1.0)
    for reviewer, label in (("ann", "a"), ("bob", "b"), ("cid", "a")):
        item = sure(api, reviewer)
        assert [(r["reviewer"], r["label"]) for r in item["reviews"]] == [
            (name, None) for name in ("ann", "bob", "cid")[: len(item["reviews"])]
        ]
        assert labelled(api, item, reviewer, label=label).status_code == 202
        assert asked(api, reviewer) is None, "nobody is asked twice"
    until(lambda: [state.state for state in ledger.states], lambda states: states == [State.TRAINED, State.CORRECTED, State.CORRECTED])
    stats = until(lambda: api.get("/v1/review/stats").json(), lambda answer: len(answer["reviewers"]) == 3)
    assert api.get("/v1/labels/e/0").json()["truth"] == "a"
    assert asked(api, "dan") is None
    agreement = stats["agreement"]
    assert (agreement["events"], agreement["pairs"], agreement["agreed"]) == (1, 1, 0), "the third was asked since two differed"


def test_what_is_marked_wrong_is_asked_first_and_chance_alone_tells_the_accuracy(
    stack: Callable[..., tuple[httpx.Client, PlayedLedger]],
) -> None:
    share, predictions = 0.5, some(24)
    members = [p.event_id for p in predictions if is_random(p.event_id, share)]
    api, ledger = stack(predictions, review_random_share=share)
    wrong = members[-1]
    assert api.post("/v1/feedback", json={"event_id": wrong, "verdict": "wrong"}).status_code == 202
    until(lambda: api.get("/v1/review/stats").json().get("queue", {}).get("wrong"), lambda count: count == 1)
    seen: dict[str, list[str]] = {}
    while (item := asked(api, "ann")) is not None:
        seen.setdefault(item["event_id"], []).append(item["why"])
        verdict = {"label": "b"} if item["event_id"] == wrong else {"verdict": "right"}
        assert labelled(api, item, "ann", **verdict).status_code == 202
    assert sorted(seen) == sorted(p.event_id for p in predictions)
    assert sorted(seen[wrong]) == ["random", "wrong"], "a label that was asked for with a reason says nothing of the accuracy"
    assert all(why == ["random"] for event, why in seen.items() if event in members and event != wrong)
    assert not any("random" in why for event, why in seen.items() if event not in members)
    stats = until(lambda: api.get("/v1/review/stats").json(), lambda answer: answer["random"]["labels"] == len(members))
    right = len(members) - 1
    assert (stats["random"]["correct"], stats["random"]["accuracy"]) == (right, right / len(members))
    assert stats["random"]["low"] < right / len(members) < stats["random"]["high"]
    until(lambda: len(ledger.states), lambda count: count == len(predictions) + 2)


def test_what_label_studio_gets_comes_back_and_teaches_once(stack: Callable[..., tuple[httpx.Client, PlayedLedger]]) -> None:
    api, ledger = stack(some(3), review_labels_per_event=2, review_second_share=1.0)
    assert labelled(api, sure(api, "ann"), "ann", label="b").status_code == 202
    assert labelled(api, sure(api, "ann"), "ann", label="a").status_code == 202
    until(lambda: api.get("/v1/review/stats").json(), lambda answer: answer["reviewed"] == 2)
    tasks = api.get("/v1/review/export").json()
    assert [len(task["annotations"]) for task in tasks].count(1) == 2
    (plain,) = api.get("/v1/review/export", params={"reviewed": "false"}).json()
    assert plain["predictions"] == [
        {
            "model_version": "base@7",
            "score": plain["predictions"][0]["score"],
            "result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["a"]}}],
        }
    ]
    unnamed = api.get("/v1/review/export", params={"reviewers": "false", "reviewed": "true"}).json()
    assert all("completed_by" not in annotation for task in unnamed for annotation in task["annotations"])

    back = api.post("/v1/review/import", json=tasks).json()
    assert back == {"accepted": 0, "known": 2, "skipped": 1, "ids": [None] * 3, "errors": []}
    plain["annotations"] = [{"id": 5, "completed_by": {"email": "bob@example.com"}, "result": plain["predictions"][0]["result"]}]
    flat = {"text": "never seen before", "label": "c", "annotator": 3, "annotation_id": 9}
    broken = {"data": {"text": "two labels"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["a", "b"]}}]}]}
    sent = [plain, flat, broken, {"data": {"event_id": "e/0"}, "annotations": [{"result": [], "was_cancelled": True}]}]
    answer = api.post("/v1/review/import", json=sent)
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["skipped"]) == (207, 2, 1)
    assert [(error["index"], error["field"]) for error in body["errors"]] == [(2, "annotations[0].result")]
    assert [given is None for given in body["ids"]] == [False, False, True, True]
    until(lambda: len(ledger.states), lambda count: count == 4)
    assert api.post("/v1/review/import", json=[flat]).json()["ids"] == [body["ids"][1]]
    until(lambda: [state.state for state in ledger.states], lambda states: states == [State.TRAINED] * 4 + [State.DUPLICATE])
    bob, three = ledger.feedback[2], ledger.feedback[3]
    assert (bob.reviewer, bob.label, bob.text, bob.drawn) == ("bob@example.com", "a", None, None)
    assert (three.reviewer, three.label, three.text, three.source) == ("annotator 3", "c", "never seen before", "label-studio")
    assert api.post("/v1/review/import", json=[broken]).status_code == 422


def test_a_label_of_an_old_event_brings_its_text_so_that_it_is_learned(stack: Callable[..., tuple[httpx.Client, PlayedLedger]]) -> None:
    api, ledger = stack([prediction("old", "from last week", {"a": 1.0}, age_ms=7 * 24 * 3_600_000)])
    assert labelled(api, sure(api, "ann"), "ann", label="b", comment="seen late").status_code == 202
    until(lambda: [state.state for state in ledger.states], lambda states: states == [State.TRAINED])
    assert (ledger.feedback[0].text, ledger.feedback[0].comment) == ("from last week", "seen late")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"claim": "c", "label": "a"}, "reviewer"),
        ({"reviewer": "ann", "claim": "c"}, "label"),
        ({"reviewer": "ann", "claim": "c", "label": "a", "verdict": "wrong"}, "verdict"),
        ({"reviewer": "ann", "claim": "c", "label": "a", "drawn": "random"}, "body"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(api: httpx.Client, body: Answer, field: str) -> None:
    response = until(lambda: api.post("/v1/review/e/label", json=body), lambda answer: answer.status_code != 503)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)
