"""Every route of the API, and what it answers. A test compares this list with the OpenAPI description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from client import model_types, review_types, service_types, types

T = TypeVar("T")


@dataclass(frozen=True)
class Route(Generic[T]):
    """A route: method, path with the names of its parts in braces, and the type of a good answer."""

    method: str
    path: str
    answer: type[T]


PREDICTIONS = Route("GET", "/v1/predictions", types.Predictions)
PREDICTION = Route("GET", "/v1/predictions/{event_id}", types.Prediction)
RECEIPT = Route("GET", "/v1/labels/{event_id}", types.Receipt)
COUNTS = Route("GET", "/v1/counts", types.Counts)
TRENDING = Route("GET", "/v1/trending", types.Trending)
QUALITY = Route("GET", "/v1/quality", types.Quality)
QUALITY_HISTORY = Route("GET", "/v1/quality/history", types.QualityHistory)
CONFUSION = Route("GET", "/v1/quality/confusion", types.Confusion)
CALIBRATION = Route("GET", "/v1/quality/calibration", types.Calibration)
ALARMS = Route("GET", "/v1/alarms", types.Alarms)
TASKS = Route("GET", "/v1/tasks", types.Tasks)
CLASSES = Route("GET", "/v1/classes", types.Classes)
CLASSIFY = Route("POST", "/v1/classify", types.Classification)
LIVE = Route("GET", "/v1/live", types.LiveEvent)
EVENTS = Route("POST", "/v1/events", types.Accepted)
FEEDBACK = Route("POST", "/v1/feedback", types.Accepted)
MODELS = Route("GET", "/v1/models", model_types.Models)
MODEL = Route("GET", "/v1/models/{line}", model_types.LineDetail)
MODEL_AT = Route("GET", "/v1/models/at", model_types.ModelAt)
MODEL_HISTORY = Route("GET", "/v1/models/history", model_types.ModelHistory)
COMMAND = Route("GET", "/v1/models/commands/{command_id}", model_types.Command)
PROMOTE = Route("POST", "/v1/models/{line}/promote", model_types.Command)
SHADOW = Route("POST", "/v1/models/{line}/shadow", model_types.Command)
SPLIT = Route("POST", "/v1/models/{line}/split", model_types.Command)
DROP = Route("POST", "/v1/models/{line}/drop", model_types.Command)
ROLLBACK = Route("POST", "/v1/models/rollback", model_types.Command)
REVIEW_NEXT = Route("GET", "/v1/review/next", review_types.ReviewNext)
REVIEW_LABEL = Route("POST", "/v1/review/{event_id}/label", types.Accepted)
REVIEW_SKIP = Route("POST", "/v1/review/{event_id}/skip", review_types.Skipped)
REVIEW_STATS = Route("GET", "/v1/review/stats", review_types.ReviewStats)
REVIEW_EXPORT: Route[list[dict[str, Any]]] = Route("GET", "/v1/review/export", list)
REVIEW_IMPORT = Route("POST", "/v1/review/import", review_types.Imported)
ME = Route("GET", "/v1/me", service_types.Me)
HEALTH = Route("GET", "/healthz", service_types.Part)
READY = Route("GET", "/readyz", service_types.Ready)
METRICS = Route("GET", "/metrics", str)

ROUTES: tuple[Route[Any], ...] = tuple(value for value in list(globals().values()) if isinstance(value, Route))
"""All of them."""
