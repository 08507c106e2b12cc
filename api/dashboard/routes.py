"""The page at `/`, and its files below `/assets`. They hold no data: who may see what is up to the routes that the page asks."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from api.dashboard.files import INDEX, PLOTLY, File, page, plotly, plotly_version
from api.problems import Problem

router = APIRouter(include_in_schema=False)

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Nothing but our own files, and no script or style in the page itself: a text of an event that got into it could not run."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


@router.api_route("/", methods=["GET", "HEAD"])
def index(request: Request) -> Response:
    """Return the page; it is asked for again each time, which costs a 304."""
    return _answer(request, page().files[INDEX], _ASK_AGAIN)


@router.api_route("/assets/{version}/{path:path}", methods=["GET", "HEAD"])
def asset(request: Request, version: str, path: str) -> Response:
    """Return a file. One that is asked for under a version that is not ours comes as it is now, and is not to be kept."""
    if version.startswith("plotly-") and path == PLOTLY:
        return _answer(request, plotly(), _FOR_EVER if version == f"plotly-{plotly_version()}" else _ASK_AGAIN)
    found = page().files.get(path) if path != INDEX else None
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"the dashboard has no file {path!r}")
    return _answer(request, found, _FOR_EVER if version == page().version else _ASK_AGAIN)


def _answer(request: Request, file: File, keep: str) -> Response:
    headers = {**_HEADERS, "ETag": file.etag, "Cache-Control": keep}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.zipped, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.plain, headers=headers, media_type=file.media_type)
