"""A task's lines as the API of a running stack tells them: it has read the model log already, however long that is."""

from __future__ import annotations

from typing import TypeVar

import msgspec
import requests

from api.model_views import LineDetail, ModelAtView, ModelsView

_TIMEOUT_S = 5.0

V = TypeVar("V", bound=msgspec.Struct)


class NoApi(Exception):
    """The API is not there, or has not read the log yet: whoever asks must read the log."""


class NoLine(Exception):
    """There is no such line."""


class ModelApi:
    """What the API at `url` says of one task. Every method raises `NoApi`."""

    def __init__(self, url: str, task: str) -> None:
        self._url, self._task = url, task

    def view(self) -> ModelsView:
        """Return the lines."""
        return self._get("", ModelsView)

    def detail(self, line: str) -> LineDetail:
        """Return all of a line (raises `NoLine`)."""
        return self._get(f"/{line}", LineDetail)

    def at(self, time: int) -> ModelAtView:
        """Return which line was live at a time, epoch ms."""
        return self._get("/at", ModelAtView, time=str(time))

    def _get(self, path: str, kind: type[V], **query: str) -> V:
        try:
            answer = requests.get(f"{self._url}/v1/models{path}", {"task": self._task, **query}, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise NoApi(str(error)) from error
        if answer.status_code == requests.codes.not_found:
            raise NoLine(path)
        try:
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)
        except (requests.RequestException, msgspec.DecodeError) as error:
            raise NoApi(str(error)) from error
