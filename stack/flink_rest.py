"""The part of Flink's REST interface that the stack uses (Flink documentation, "REST API")."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import quote

TIMEOUT_S = 5.0
_FAILED = "__Committer.failedCommittables"
_RESTORE_FAILED = "Exception while creating StreamOperatorStateContext"
_DISK_FULL = "No space left on device"


class FlinkUnreachable(Exception):
    """The JobManager does not answer, or not with what was asked for."""


class JobOverview(NamedTuple):
    """A job as the JobManager sees it: its name, Flink's state of it, and whether every one of its tasks runs."""

    name: str
    state: str
    all_running: bool

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in ("FINISHED", "CANCELED", "FAILED")


class FlinkRest:
    """A client of one JobManager at `host:port`."""

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._counters: dict[str, list[tuple[str, list[str]]]] = {}

    def _request(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(self.address, timeout=self._timeout_s)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, body=data, headers={"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            text = response.read()
            answer = json.loads(text) if text else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FlinkUnreachable(f"{method} {path} at {self.address}: {error}") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise FlinkUnreachable(f"{method} {path} at {self.address}: HTTP {response.status} {str(answer)[:300]}")
        return answer

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._request(method, path, body)
        if not isinstance(answer, dict):
            raise FlinkUnreachable(f"{method} {path} at {self.address}: {str(answer)[:300]}")
        return answer

    def answers(self) -> bool:
        """Whether the JobManager answers."""
        try:
            self._call("GET", "/overview")
        except FlinkUnreachable:
            return False
        return True

    def slots(self) -> int:
        """How many slots the registered TaskManagers have."""
        return int(self._call("GET", "/overview")["slots-total"])

    def task_managers(self) -> set[str]:
        """The resource ids of the TaskManagers that have registered and offered their slots."""
        return {entry["id"] for entry in self._call("GET", "/taskmanagers")["taskmanagers"] if entry["slotsNumber"]}

    def jobs(self) -> dict[str, JobOverview]:
        """Every job that the JobManager knows, by id."""
        return {
            entry["jid"]: JobOverview(entry["name"], entry["state"], entry["tasks"]["running"] == entry["tasks"]["total"] > 0)
            for entry in self._call("GET", "/jobs/overview")["jobs"]
        }

    def restarts(self, job: str) -> int | None:
        """How often the job was restarted by Flink; None if it does not say."""
        values = self._request("GET", f"/jobs/{job}/metrics?get=numRestarts")
        return int(values[0]["value"]) if values else None

    def checkpoints(self, job: str) -> dict[str, Any]:
        """Counts of the job's checkpoints (`completed`, `failed`, `restored` …)."""
        counts = self._call("GET", f"/jobs/{job}/checkpoints")["counts"]
        return dict(counts)

    def checkpoints_since(self, job: str, moment: int) -> int:
        """How many of the job's newest checkpoints were begun after the moment (epoch ms) and are complete."""
        history = self._call("GET", f"/jobs/{job}/checkpoints")["history"]
        return sum(entry["status"] == "COMPLETED" and entry["trigger_timestamp"] > moment for entry in history)

    def newest_checkpoint(self, job: str) -> dict[str, Any]:
        """Sizes (bytes) and durations (ms) of the job's newest complete checkpoint; nothing before the first."""
        return dict(self._call("GET", f"/jobs/{job}/checkpoints")["latest"]["completed"] or {})

    def heap_used(self, task_manager: str) -> int:
        """Bytes of a TaskManager's heap that are in use."""
        values = self._request("GET", f"/taskmanagers/{task_manager}/metrics?get=Status.JVM.Memory.Heap.Used")
        return int(values[0]["value"]) if values else 0

    def root_cause(self, job: str) -> str | None:
        """The first lines of the job's newest exception."""
        entries = self._call("GET", f"/jobs/{job}/exceptions?maxExceptions=1").get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return None
        lines = [line.strip() for line in str(entries[0]["stacktrace"]).splitlines()]
        causes = [line for line in lines if line and not line.startswith(("at ", "..."))]
        return " | ".join([causes[0], *causes[-1:]])[:500] if causes else None

    def failed_restore(self, job: str) -> int | None:
        """The time (epoch ms) of the job's newest failure, if that was that its state could not be restored; None otherwise.

        A full disk is another matter: the state is as good as before.
        """
        entries = self._call("GET", f"/jobs/{job}/exceptions?maxExceptions=1").get("exceptionHistory", {}).get("entries", [])
        text = str(entries[0]["stacktrace"]) if entries else ""
        return int(entries[0]["timestamp"]) if _RESTORE_FAILED in text and _DISK_FULL not in text else None

    def failed_committables(self, job: str) -> int:
        """How many commits have failed in the job's present attempt: of what was committed before, or of what the broker has aborted."""
        failed = 0
        for path, names in self._committers(job):
            values = self._request("GET", f"{path}?get={','.join(names)}")
            failed += sum(int(entry["sum"]) for entry in values)
        return failed

    def _committers(self, job: str) -> list[tuple[str, list[str]]]:
        """The paths of the sinks' metrics and the names of the counters; looked for once a job."""
        if not self._counters.get(job):
            paths = [f"/jobs/{job}/vertices/{vertex['id']}/subtasks/metrics" for vertex in self._call("GET", f"/jobs/{job}")["vertices"]]
            named = [(path, [entry["id"] for entry in self._request("GET", path) if entry["id"].endswith(_FAILED)]) for path in paths]
            self._counters[job] = [(path, [quote(name) for name in names]) for path, names in named if names]
        return self._counters[job]

    def stop_with_savepoint(self, job: str, folder: str) -> str:
        """Ask the job to stop with a savepoint below `folder`; returns the id of the request."""
        return str(self._call("POST", f"/jobs/{job}/stop", {"targetDirectory": folder, "drain": False})["request-id"])

    def savepoint(self, job: str, request: str) -> tuple[str | None, str | None]:
        """Return (path, None) when the savepoint is complete, (None, reason) when it failed, (None, None) before."""
        answer = self._call("GET", f"/jobs/{job}/savepoints/{request}")
        if answer["status"]["id"] != "COMPLETED":
            return None, None
        operation = answer["operation"]
        if "location" in operation:
            return str(operation["location"]), None
        return None, str(operation.get("failure-cause", {}).get("class", "unknown"))

    def cancel(self, job: str) -> None:
        """Cancel the job."""
        self._call("PATCH", f"/jobs/{job}?mode=cancel")
