"""The body of a request to classify: one text or many, and what is wrong with it, named by field and place. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import msgspec

from api.incoming import ITEMS_MAX, field_error
from api.problems import FieldError, Problem
from schemas.parsing import RejectRecord
from schemas.records import Reason


class TextToClassify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One text to classify."""

    text: str


class TextsToClassify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts to classify, 1 to 1,000."""

    texts: list[str]


class _Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: str | msgspec.UnsetType = msgspec.UNSET
    texts: list[str] | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Wanted).decode


def parse_texts(body: bytes, *, max_text_bytes: int) -> list[str]:
    """Return the texts in `body`.

    Raises:
        Problem: naming everything that is wrong; a text of a list by its place.

    >>> parse_texts(b'{"texts": ["a", "b"]}', max_text_bytes=10)
    ['a', 'b']
    """
    try:
        wanted = _decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(list(_wrong_items(body)) or [field_error(RejectRecord(Reason.INVALID_FIELD, str(error)))]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        broken = FieldError(field="body", reason=Reason.NOT_JSON, detail=str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON in UTF-8: {error}", errors=[broken]) from error
    if (wanted.text is msgspec.UNSET) == (wanted.texts is msgspec.UNSET):
        raise _invalid([FieldError(field="body", reason=Reason.INVALID_FIELD, detail="expected either `text` or `texts`")])
    texts = [wanted.text] if isinstance(wanted.text, str) else wanted.texts or []
    return _checked(texts, several=wanted.text is msgspec.UNSET, max_text_bytes=max_text_bytes)


def _checked(texts: list[str], *, several: bool, max_text_bytes: int) -> list[str]:
    if not 1 <= len(texts) <= ITEMS_MAX:
        detail = f"expected 1 to {ITEMS_MAX} texts, got {len(texts)}"
        raise _invalid([FieldError(field="texts", reason="list_length", detail=detail)])
    field, detail = "texts" if several else "text", f"more than {max_text_bytes} bytes in UTF-8"
    too_long = [
        FieldError(field=field, reason=Reason.TEXT_TOO_LONG, detail=detail, index=index if several else None)
        for index, text in enumerate(texts)
        if len(text) * 4 > max_text_bytes and len(text.encode()) > max_text_bytes
    ]
    if too_long:
        raise _invalid(too_long)
    return texts


def _wrong_items(body: bytes) -> Iterator[FieldError]:
    """Yield what is no text in the list: the decoder's own message does not say where."""
    decoded = msgspec.json.decode(body)
    items = decoded.get("texts") if isinstance(decoded, dict) else None
    for index, item in enumerate(items if isinstance(items, list) else []):
        if not isinstance(item, str):
            detail = f"Expected `str`, got `{type(item).__name__}`"
            yield FieldError(field="texts", reason=Reason.INVALID_FIELD, detail=detail, index=index)


def _invalid(errors: list[FieldError]) -> Problem:
    count = f"{len(errors)} texts are invalid" if len(errors) > 1 else f"invalid: {errors[0].field}"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{count}; nothing was classified", errors=errors[:ITEMS_MAX])
