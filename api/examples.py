"""Examples for the OpenAPI description, made from the types: one vocabulary of fields, so that all examples tell the same story. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import inspect

from schemas.records import Reason

_AT = 1_774_000_000_000
_TEXT = "Where is my refund for order 42?"
_PROBA = {"refund": 0.93, "delivery": 0.05, "bug": 0.02}

FIELDS: Mapping[str, tuple[Any, ...]] = {
    # Of what a name may stand for, the first that fits the field's type is taken; where none does, one is made of the type.
    "accuracy": (0.91,),
    "against": ("base",),
    "alarms": (1,),
    "application": ("millrace",),
    "arrived_at": (_AT,),
    "base": ("base",),
    "by": ("ann",),
    "candidate": ("softmax",),
    "classes": (3, ["bug", "delivery", "refund"]),
    "command_id": ("0197f0a2-6a5e-7c1f-9d53-0c2f1f0e7b11",),
    "claim": ("0197f0a2-8c2d-7e4f-9b75-62d1f1b5c8e3",),
    "comment": ("asks for money back",),
    "confidence": (0.93,),
    "corrects": (None,),
    "counts": ({"refund": 120, "delivery": 80},),
    "created_at": (_AT,),
    "data": ("5f3c9a",),
    "detail": ("last seen 0.4 s ago",),
    "drawn": ("random",),
    "end": (_AT + 60_000,),
    "event_id": ("ticket-1",),
    "event_ts": (_AT,),
    "feedback_id": ("feedback-1",),
    "granularity": ("hour",),
    "ids": (["ticket-1"],),
    "key": ("ann",),
    "kind": ("promote", "hashtag"),
    "label": ("refund",),
    "label_states": (
        {"waiting": 2, "trained": 118, "duplicate": 1, "corrected": 3, "marked": 2, "expired": 0, "orphan": 0, "rejected": 0},
    ),
    "labels": (121, ["bug", "delivery", "refund"]),
    "last_change_at": (_AT,),
    "line": ("r3-a1b2c3",),
    "meta": ({"channel": "mail"},),
    "metrics": ({"gain": 0.012},),
    "model_time": (_AT,),
    "name": ("refunds",),
    "newest": (_AT,),
    "next": (None,),
    "oldest": (_AT - 3_600_000,),
    "partition": (0,),
    "passed_over": (0,),
    "predicted_at": (_AT,),
    "proba": (_PROBA,),
    "reason": ("invalid_field",),
    "reviewer": ("ann",),
    "score": (),
    "seq": (124,),
    "served": ("refund",),
    "serving": ("r3-a1b2c3",),
    "share": (0.1,),
    "since": (_AT,),
    "slide_ms": (10_000,),
    "source": ("helpdesk",),
    "start": (_AT,),
    "state": ("trained",),
    "task": ("default",),
    "text": (_TEXT,),
    "texts": ([_TEXT, "The app crashes"],),
    "time": (_AT,),
    "total": (200,),
    "truth": ("refund",),
    "ts": (_AT,),
    "updated_at": (_AT,),
    "weight": (1.0,),
    "what": ("r3-a1b2c3 promoted, replaces base",),
    "why": ("better on refunds",),
    "window_ms": (60_000,),
    "window_size": (1000,),
}

WHOLE: Mapping[str, Any] = {
    # What clients send is shorter than what the types allow.
    "NewEvent": {"event_id": "ticket-1", "text": _TEXT, "meta": {"channel": "mail"}},
    "NewFeedback": {"event_id": "ticket-1", "label": "refund"},
    "PartlyAccepted": {
        "accepted": 1,
        "ids": ["ticket-1", None],
        "errors": [{"field": "text", "reason": "invalid_field", "detail": "Expected `str`, got `int` - at `$.text`", "index": 1}],
    },
    "Change": {"by": "ann", "why": "better on refunds"},
    "Rollback": {"by": "ann", "why": "refunds are wrong since noon"},
    "ReviewLabel": {"reviewer": "ann", "claim": "0197f0a2-8c2d-7e4f-9b75-62d1f1b5c8e3", "label": "refund"},
    "StudioTask": {
        "data": {"event_id": "ticket-1", "text": _TEXT},
        "annotations": [{"result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["refund"]}}]}],
    },
    "Split": {"by": "ann", "why": "to compare", "share": 0.1},
    "ReadyView": {
        "ready": True,
        "parts": {
            "kafka": {"ready": True, "detail": "answers, topics are there", "since": _AT},
            "classify": {"ready": False, "detail": "last seen 95.0 s ago", "since": _AT},
        },
    },
}

PARAMETERS: Mapping[str, Any] = {
    "Idempotency-Key": "0197f0a2-7b1c-7d3e-8a64-51c0e0a4b7d2",
    "bins": 10,
    "command_id": "0197f0a2-6a5e-7c1f-9d53-0c2f1f0e7b11",
    "cursor": None,
    "event_id": "ticket-1",
    "explain": True,
    "granularity": "hour",
    "kind": "hashtag",
    "kinds": "prediction,counts",
    "label": "refund",
    "Last-Event-ID": None,
    "last_event_id": None,
    "limit": 20,
    "line": "r3-a1b2c3",
    "max_confidence": 0.6,
    "max_per_second": 20,
    "min_confidence": 0.5,
    "q": "refund",
    "reviewed": False,
    "reviewer": "ann",
    "reviewers": True,
    "since": _AT,
    "sort": "time",
    "state": "trained",
    "task": "default",
    "time": "2026-03-20T10:00:00Z",
    "top": 3,
    "until": _AT + 3_600_000,
    "wait_s": 5,
}
"""By name; null: there is no example that is always right, so that none is shown."""

_DETAILS: Mapping[int, str] = {
    400: "the body is no JSON in UTF-8: Input data was truncated",
    401: "this needs an API key: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
    403: "this needs the role write; the key ann has read",
    404: "no prediction of event 'ticket-1' in task default: it is not there yet, or older than the newest ones that are kept",
    408: "the body was not complete after 60 s; nothing was accepted",
    409: "the learner refused it: r3-a1b2c3 is not watched",
    413: "the body is larger than 8 MiB: send fewer records at once",
    422: "the record is invalid; nothing was accepted",
    421: "this service does not answer to the name 'other.example'; MILLRACE_API_HOSTS lists the names, beside localhost",
    429: "more than 1000 requests a second from key ann, over 10 s; nothing was accepted: try again in 1 s",
    503: "Kafka at 127.0.0.1:9092 does not answer (nothing listens there): start it, or set MILLRACE_KAFKA to the one to use",
}


def example(kind: Any) -> Any:
    """Return an example of a type, as JSON would hold it.

    >>> from schemas.records import ModelVersion
    >>> example(ModelVersion)
    {'line': 'r3-a1b2c3', 'seq': 124}
    """
    return _made(inspect.type_info(kind), "")


def problem(status: int) -> dict[str, Any]:
    """Return an example of the problem of a status.

    >>> problem(404)["title"]
    'Not Found'
    """
    body: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status, "detail": _DETAILS.get(status, HTTPStatus(status).phrase)}
    if status == 422:
        body["errors"] = [{"field": "text", "reason": Reason.INVALID_FIELD, "detail": "Expected `str`, got `int` - at `$.text`"}]
    return {**body, "request_id": "0197f0a2-6a5e-7c1f-9d53-0c2f1f0e7b11"}


def _made(kind: inspect.Type, name: str) -> Any:
    maker = _MAKERS.get(type(kind))
    return maker(kind, name) if maker else None


def _struct(kind: inspect.StructType, _: str) -> dict[str, Any]:
    if kind.cls.__name__ in WHOLE:
        return dict(WHOLE[kind.cls.__name__])
    tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
    return {**tag, **{field.encode_name: _field(field) for field in msgspec.structs.fields(kind.cls)}}


def _field(field: msgspec.structs.FieldInfo) -> Any:
    for known in FIELDS.get(field.name, ()):
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert(known, field.type)
            return known
    return _made(inspect.type_info(field.type), field.name)


def _union(kind: inspect.UnionType, name: str) -> Any:
    return _made(next(part for part in kind.types if not isinstance(part, inspect.NoneType)), name)


def _least(kind: inspect.IntType | inspect.FloatType, usual: float) -> float:
    return usual if kind.ge is None else max(usual, kind.ge)


_MAKERS: Mapping[type[inspect.Type], Callable[[Any, str], Any]] = {
    inspect.StructType: _struct,
    inspect.UnionType: _union,
    inspect.Metadata: lambda kind, name: _made(kind.type, name),
    inspect.ListType: lambda kind, _: [_made(kind.item_type, "")],
    inspect.VarTupleType: lambda kind, _: [_made(kind.item_type, "")],
    inspect.TupleType: lambda kind, _: [_made(part, "") for part in kind.item_types],
    inspect.DictType: lambda kind, _: {"refund": _made(kind.value_type, "")},
    inspect.LiteralType: lambda kind, _: kind.values[0],
    inspect.EnumType: lambda kind, _: next(iter(kind.cls)).value,
    inspect.BoolType: lambda _kind, _name: True,
    inspect.IntType: lambda kind, _: int(_least(kind, 3)),
    inspect.FloatType: lambda kind, _: float(_least(kind, 0.5)),
    inspect.StrType: lambda _, name: name or "refund",
}
