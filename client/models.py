"""The client's methods about models."""

from __future__ import annotations

from typing import Any

from client import model_types as types
from client import routes
from client.calls import ApiError, Calls


class ModelsClient:
    """Asks what serves and what is watched, and asks the learner for changes. With `wait_s` a change waits for its answer."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def list(self, *, task: str | None = None) -> types.Models:
        """Return the lines of a task."""
        return self._calls.ask(routes.MODELS, query={"task": task})

    def show(self, line: str, *, task: str | None = None) -> types.LineDetail | None:
        """Return all that is known of a line, None if there is none of that name."""
        try:
            return self._calls.ask(routes.MODEL, query={"task": task}, path={"line": line})
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def at(self, time: str | int, *, task: str | None = None) -> types.ModelAt:
        """Return which line was live at a time: ISO 8601, or epoch milliseconds."""
        return self._calls.ask(routes.MODEL_AT, query={"task": task, "time": time})

    def history(self, *, task: str | None = None, limit: int | None = None) -> types.ModelHistory:
        """Return the changes of what is served or watched, newest first."""
        return self._calls.ask(routes.MODEL_HISTORY, query={"task": task, "limit": limit})

    def command(self, command_id: str) -> types.Command:
        """Return what became of a command."""
        return self._calls.ask(routes.COMMAND, path={"command_id": command_id})

    def promote(self, line: str, *, by: str, why: str = "", task: str | None = None, wait_s: float = 0, **more: Any) -> types.Command:
        """Ask for a line to serve."""
        return self._change(routes.PROMOTE, task, wait_s, {"by": by, "why": why, **more}, path={"line": line})

    def shadow(self, line: str, *, by: str, why: str = "", task: str | None = None, wait_s: float = 0, **more: Any) -> types.Command:
        """Ask for a line to be watched as a shadow."""
        return self._change(routes.SHADOW, task, wait_s, {"by": by, "why": why, **more}, path={"line": line})

    def split(
        self, line: str, share: float, *, by: str, why: str = "", task: str | None = None, wait_s: float = 0, **more: Any
    ) -> types.Command:
        """Ask for a line to serve a share of the events."""
        return self._change(routes.SPLIT, task, wait_s, {"by": by, "why": why, "share": share, **more}, path={"line": line})

    def drop(self, line: str, *, by: str, why: str = "", task: str | None = None, wait_s: float = 0, **more: Any) -> types.Command:
        """Ask for the watch of a line to end."""
        return self._change(routes.DROP, task, wait_s, {"by": by, "why": why, **more}, path={"line": line})

    def rollback(
        self, line: str | None = None, *, by: str, why: str = "", task: str | None = None, wait_s: float = 0, **more: Any
    ) -> types.Command:
        """Ask for the line that served before, or for `line`, to serve again."""
        return self._change(routes.ROLLBACK, task, wait_s, {"by": by, "why": why, "line": line, **more})

    def _change(
        self, route: routes.Route[types.Command], task: str | None, wait_s: float, body: dict[str, Any], path: dict[str, str] | None = None
    ) -> types.Command:
        return self._calls.ask(route, query={"task": task, "wait_s": wait_s}, body=body, longer_s=wait_s, path=path)
