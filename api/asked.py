"""What is asked of a line: the bodies of the POSTs about models, and which answers they get. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import msgspec

from api.incoming import field_error
from api.model_views import CommandView
from api.problems import FieldError, Problem
from api.services import answers
from schemas.log import LineName, Share
from schemas.parsing import RejectRecord
from schemas.records import Reason


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for a change, and why. With `against` it is refused if another line serves by then."""

    by: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    why: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    against: LineName | None = None


class Split(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for a line to serve a share of the events (0.001 to 0.999), and why."""

    share: Share


class Rollback(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks for a rollback, and why; to `line`, or to the one that served before."""

    line: LineName | None = None


C = TypeVar("C", bound=msgspec.Struct)

ANSWERS: dict[int | str, dict[str, Any]] = {
    **answers(CommandView, 400, 404, 409, 413, 422, 503, status=202),
    **answers(CommandView),
}


def parse(data: bytes, kind: type[C]) -> C:
    """Return what is asked.

    Raises:
        Problem: naming the field that is wrong.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        wrong = field_error(RejectRecord(Reason.INVALID_FIELD, str(error)))
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is invalid: {error}", errors=[wrong]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        broken = FieldError(field="body", reason=Reason.NOT_JSON, detail=str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON in UTF-8: {error}", errors=[broken]) from error
