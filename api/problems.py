"""Errors as `application/problem+json` (RFC 9457): every refusal names the field and the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.asked_by import CURRENT
from store.connect import KafkaUnavailable, RedisUnavailable
from store.model_feed import NotReadYet
from store.recent.index import NotIndexed

MEDIA_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong with one field; `index` is the item's place in a list that was sent."""

    field: str
    reason: str
    detail: str
    index: int | None = None


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an error; `type` is left out, which means `about:blank` (RFC 9457, 4.2.1). The log knows the request by its id."""

    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    ids: list[str | None] = []
    request_id: str | None = None


class Problem(Exception):
    """An error to answer with.

    Attributes:
        status: HTTP status.
        detail: what happened and what to do.
        errors: the fields that are wrong.
        ids: ids that were given to the records of the request, so that it can be sent again with them; None for a refused one.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        ids: Sequence[str | None] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = list(errors)
        self.ids = list(ids)
        self.headers = dict(headers or {})


def answer(problem: Problem) -> Response:
    """Return the response for a problem."""
    status = problem.status
    by = CURRENT.get()
    body = ProblemBody(
        title=status.phrase, status=status, detail=problem.detail, errors=problem.errors, ids=problem.ids,
        request_id=by.request_id if by else None,
    )  # fmt: skip
    headers = {"Retry-After": "5"} | problem.headers if status is HTTPStatus.SERVICE_UNAVAILABLE else problem.headers
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    @app.exception_handler(Problem)
    def known(_: Request, error: Problem) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [FieldError(field=_field(e["loc"]), reason=e["type"], detail=e["msg"]) for e in error.errors()]
        fields = ", ".join(e.field for e in errors)
        return answer(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"invalid: {fields}", errors=errors))

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        response = answer(Problem(HTTPStatus(error.status_code), str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RedisUnavailable)
    @app.exception_handler(KafkaUnavailable)
    @app.exception_handler(NotReadYet)
    @app.exception_handler(NotIndexed)
    def away(_: Request, error: Exception) -> Response:
        return answer(Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)))

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> Response:
        # The server logs the error itself; its text may hold what a client should not see.
        return answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"an error of the service ({type(error).__name__}); its log says more"))


def _field(location: Sequence[int | str]) -> str:
    """Name a field: `query.limit` is the client's `limit`."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
