"""How the client asks: addresses, keys, times, errors. Everything else is in `client.client`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from client.routes import Route
from client.types import FieldError

T = TypeVar("T")
Query = Mapping[str, str | float | bool | None]


class Unreachable(Exception):
    """The API cannot be reached, or did not answer in time."""


class _Problem(msgspec.Struct):
    """What is read of a problem (RFC 9457)."""

    title: str = ""
    detail: str = ""
    errors: list[FieldError] = []
    ids: list[str | None] = []
    request_id: str | None = None


class ApiError(Exception):
    """The API refused.

    Attributes:
        status: HTTP status.
        detail: what happened, and what to do.
        errors: the fields that are wrong.
        ids: ids that were given to the records of the request, so that it can be sent again with them.
        request_id: by which the API's log knows the request.
        retry_after_s: when to try again, if the API says so.
    """

    def __init__(self, response: requests.Response) -> None:
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem(title=response.reason or "", detail=response.text[:300])
        super().__init__(f"{response.status_code} {problem.title}: {problem.detail}")
        self.status = response.status_code
        self.detail = problem.detail
        self.errors = problem.errors
        self.ids = problem.ids
        self.request_id = problem.request_id or response.headers.get("X-Request-ID")
        after = response.headers.get("Retry-After", "")
        self.retry_after_s = int(after) if after.isdigit() else None


class Calls:
    """One session with the API.

    Args:
        url: where it is: `http://127.0.0.1:8000`.
        key: an API key, where keys are required.
        timeout_s: how long an answer may take.
        verify: for https: whether certificates are checked, or a file of those that are trusted.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 30.0, verify: bool | str = True) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # Neither proxies nor passwords of the surroundings: whom to ask was said, and with which key.
        self._session.trust_env = False
        self._session.verify = verify
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def ask(
        self,
        route: Route[T],
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        good: tuple[int, ...] = (200, 202, 207),
        longer_s: float = 0.0,
        path: Mapping[str, str] | None = None,
    ) -> T:
        """Ask a route and return its answer, as its type.

        Raises:
            ApiError: if the API refuses.
            Unreachable: if it does not answer.
        """
        with self.open(route, query=query, body=body, headers=headers, longer_s=longer_s, path=path) as response:
            if response.status_code not in good:
                raise ApiError(response)
            if route.answer is str:
                return response.text  # type: ignore[return-value]  # T is str here
            return msgspec.json.decode(response.content, type=route.answer)

    def open(
        self,
        route: Route[Any],
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        longer_s: float = 0.0,
        path: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send the request and return the response, whatever its status; close it.

        Raises:
            Unreachable: if there is none.
        """
        parts = {name: _quoted(value) for name, value in (path or {}).items()}
        data = None if body is None else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json"} if data is not None else {}
        request = requests.Request(
            route.method, self._url + "/", params=_given(query or {}), data=data, headers={**sent, **(headers or {})}
        )  # fmt: skip
        prepared = self._session.prepare_request(request)
        # Set afterwards: `requests` would decode what need not be encoded, and an id may be `..`.
        _, mark, asked = (prepared.url or "").partition("?")
        prepared.url = self._url + route.path.format(**parts) + mark + asked
        try:
            return self._session.send(prepared, stream=stream, timeout=self._timeout_s + longer_s, allow_redirects=False)
        except requests.RequestException as error:
            raise Unreachable(f"{self._url} does not answer: {error}") from error


def _quoted(part: str) -> str:
    """Return a part of a path with everything encoded that means something there, dots alone as well."""
    return quote(part, safe="") if part.strip(".") else "%2E" * len(part)


def _given(query: Query) -> dict[str, str]:
    """Return what is given of a query, as the API writes it."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in query.items() if value is not None}
