"""Behavioural cases: texts whose label the user requires or forbids, kept in a file of JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from online_model.models import TextModel
from schemas.manifest import CaseResult
from schemas.records import Label


class CasesError(Exception):
    """The file of cases is wrong; the message lists all that is, with line numbers."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text and the label that it must get, or must not get. `comment` is for whoever reads the file."""

    text: str
    required: Label | None = None
    forbidden: Label | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        if (self.required is None) == (self.forbidden is None):
            raise ValueError("expected either `required` or `forbidden`")
        if not self.text.strip():
            raise ValueError("expected a `text`")


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a file, one JSON object a line; empty lines are passed over.

    Raises:
        CasesError: naming every line that is wrong, or that the file cannot be read, or holds no case.
    """
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise CasesError(f"{path}: cannot be read: {error.strerror}") from error
    cases: list[Case] = []
    problems: list[str] = []
    decoder = msgspec.json.Decoder(Case)
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            cases.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"{path}, line {number}: {error}")
    problems += _contradictions(path, cases)
    if not problems and not cases:
        problems = [f"{path}: holds no case"]
    if problems:
        raise CasesError("\n".join(problems))
    return cases


def _contradictions(path: Path, cases: Sequence[Case]) -> list[str]:
    required: dict[str, set[str]] = {}
    for case in cases:
        if case.required is not None:
            required.setdefault(case.text, set()).add(case.required)
    twice = [f"{path}: {text[:100]!r} cannot be {' and '.join(sorted(labels))}" for text, labels in required.items() if len(labels) > 1]
    both = [c for c in cases if c.forbidden is not None and c.forbidden in required.get(c.text, ())]
    return twice + [f"{path}: {case.text[:100]!r} is both required and forbidden to be {case.forbidden}" for case in both]


def examine(model: TextModel, cases: Sequence[Case]) -> list[CaseResult]:
    """Return what the model says of each case; a model without classes fails those that require a label."""
    return [_result(case, next(iter(model.predict_top(case.text, 1)), None)) for case in cases]


def _result(case: Case, predicted: str | None) -> CaseResult:
    passed = predicted == case.required if case.required is not None else predicted != case.forbidden
    return CaseResult(text=case.text, required=case.required, forbidden=case.forbidden, predicted=predicted, passed=passed)
