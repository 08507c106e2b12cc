"""The client: a method for each route."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

from client import live, routes, service_types, types
from client.calls import ApiError, Calls, Query
from client.models import ModelsClient
from client.review import ReviewClient
from client.types import Granularity

T = TypeVar("T")
Record = Mapping[str, Any]


class PredictionQuery(TypedDict, total=False):
    """Which predictions.

    Of a task, of a label, between probabilities, of a model's line, between times (epoch ms), reviewed or not, with a state of their label,
    with words in the text (`q`); by `time`, or by the `score` of the label; `limit` to a page, from a `cursor` on.
    """

    task: str
    label: str
    min_confidence: float
    max_confidence: float
    line: str
    since: int
    until: int
    reviewed: bool
    state: str
    q: str
    sort: Literal["time", "score"]
    limit: int
    cursor: str


class Client:
    """Asks the API. Not safe to use from several threads: make one for each.

    Every method raises `ApiError` if the API refuses, and `Unreachable` if it does not answer. No `task` is the default one.

    Args:
        url: where the API is: `http://127.0.0.1:8000`.
        key: an API key, where keys are required.
        timeout_s: how long an answer may take.
        verify: for https: whether certificates are checked, or a file of those that are trusted.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 30.0, verify: bool | str = True) -> None:
        self._calls = Calls(url, key=key, timeout_s=timeout_s, verify=verify)
        self.models = ModelsClient(self._calls)
        self.review = ReviewClient(self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def send_events(self, *events: Record, idempotency_key: str | None = None) -> types.Accepted:
        """Send events to classify: `{"text": …}`, and what else an event has. Some may be refused: see `errors`."""
        return self._send(routes.EVENTS, events, idempotency_key)

    def send_feedback(self, *feedback: Record, idempotency_key: str | None = None) -> types.Accepted:
        """Send labels: `{"event_id": …, "label": …}`, and what else feedback has. Some may be refused: see `errors`."""
        return self._send(routes.FEEDBACK, feedback, idempotency_key)

    def predictions(self, **query: Unpack[PredictionQuery]) -> types.Predictions:
        """Return a page of predictions, latest first, or best first with `sort="score"`."""
        return self._calls.ask(routes.PREDICTIONS, query=_filters(query))

    def all_predictions(self, **query: Unpack[PredictionQuery]) -> Iterator[types.Prediction]:
        """Yield predictions of all pages; takes what `predictions` takes."""
        while True:
            page = self.predictions(**query)
            yield from page.predictions
            if page.next is None:
                return
            query["cursor"] = page.next

    def prediction(self, event_id: str, *, task: str | None = None, explain: bool | None = None) -> types.Prediction | None:
        """Return the prediction of an event, None if there is none (any more)."""
        return self._found(routes.PREDICTION, {"task": task, "explain": explain}, event_id)

    def receipt(self, event_id: str, *, task: str | None = None) -> types.Receipt | None:
        """Return what became of an event's labels, None if nothing is known of any."""
        return self._found(routes.RECEIPT, {"task": task}, event_id)

    def counts(self, *, task: str | None = None, granularity: Granularity = "total", limit: int | None = None) -> types.Counts:
        """Return how many predictions each label got."""
        return self._calls.ask(routes.COUNTS, query={"task": task, "granularity": granularity, "limit": limit})

    def trending(self, *, task: str | None = None, kind: str | None = None, limit: int | None = None) -> types.Trending:
        """Return the hashtags, mentions or words that were used most in the last window."""
        return self._calls.ask(routes.TRENDING, query={"task": task, "kind": kind, "limit": limit})

    def quality(self, *, task: str | None = None) -> types.Quality:
        """Return how well the served predictions fared."""
        return self._calls.ask(routes.QUALITY, query={"task": task})

    def quality_history(
        self, *, task: str | None = None, granularity: Literal["minute", "hour", "day"] | None = None, limit: int | None = None
    ) -> types.QualityHistory:
        """Return how that was over time."""
        return self._calls.ask(routes.QUALITY_HISTORY, query={"task": task, "granularity": granularity, "limit": limit})

    def confusion(self, *, task: str | None = None, limit: int | None = None) -> types.Confusion:
        """Return what was taken for what."""
        return self._calls.ask(routes.CONFUSION, query={"task": task, "limit": limit})

    def calibration(self, *, task: str | None = None) -> types.Calibration:
        """Return whether the served probabilities are what they say."""
        return self._calls.ask(routes.CALIBRATION, query={"task": task})

    def alarms(self, *, task: str | None = None, limit: int | None = None) -> types.Alarms:
        """Return drift alarms, newest first."""
        return self._calls.ask(routes.ALARMS, query={"task": task, "limit": limit})

    def tasks(self) -> types.Tasks:
        """Return the tasks that there are."""
        return self._calls.ask(routes.TASKS)

    def classes(self, *, task: str | None = None) -> types.Classes:
        """Return the classes that the serving model knows."""
        return self._calls.ask(routes.CLASSES, query={"task": task})

    def classify(
        self, *texts: str, task: str | None = None, explain: bool | None = None, top: int | None = None
    ) -> types.Classification:  # fmt: skip
        """Return what the model says of texts now, without an event."""
        return self._calls.ask(routes.CLASSIFY, query={"task": task, "explain": explain, "top": top}, body={"texts": texts})

    def live(
        self,
        *,
        task: str | None = None,
        kinds: Iterable[str] | None = None,
        label: str | None = None,
        min_confidence: float | None = None,
        last_event_id: str | None = None,
    ) -> Iterator[types.LiveEvent]:
        """Yield what happens, as it happens, until the API ends the stream or the caller closes the iterator.

        After `dropped`, or an end, go on with the id of the last event: `last_event_id`.
        """
        chosen = None if kinds is None else ",".join(kinds)
        query = {"task": task, "kinds": chosen, "label": label, "min_confidence": min_confidence, "last_event_id": last_event_id}
        with self._calls.open(routes.LIVE, query=query, headers={"Accept": "text/event-stream"}, stream=True) as response:
            if response.status_code != 200:
                raise ApiError(response)
            response.encoding = "utf-8"
            yield from live.events(response.iter_lines(chunk_size=1, decode_unicode=True))

    def me(self) -> service_types.Me:
        """Return who asks, and what they may."""
        return self._calls.ask(routes.ME)

    def healthy(self) -> bool:
        """Return whether the API answers."""
        return self._calls.ask(routes.HEALTH).ready is True

    def ready(self) -> service_types.Ready:
        """Return whether the API can serve, and how each part is."""
        return self._calls.ask(routes.READY, good=(200, 503))

    def metrics(self) -> str:
        """Return the metrics in Prometheus's text format."""
        return self._calls.ask(routes.METRICS)

    def _send(self, route: routes.Route[types.Accepted], records: tuple[Record, ...], idempotency_key: str | None) -> types.Accepted:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._calls.ask(route, body=records[0] if len(records) == 1 else records, headers=headers)

    def _found(self, route: routes.Route[T], query: Query, event_id: str) -> T | None:
        try:
            return self._calls.ask(route, query=query, path={"event_id": event_id})
        except ApiError as error:
            if error.status == 404:
                return None
            raise


def _filters(query: PredictionQuery) -> Query:
    return {name: value for name, value in query.items() if isinstance(value, str | int | float)}
