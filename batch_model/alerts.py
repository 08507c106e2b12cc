"""Alerts: raised once, told to a webhook with retries, taken back when the cause is gone. The URL, a secret, is in no message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3.exceptions

from batch_model.triggers import AlertKind

log = logging.getLogger(__name__)
# Its warning of an answer with defective headers holds the whole URL.
logging.getLogger("urllib3").setLevel(logging.ERROR)

TIMEOUT_S: Final = 5.0
TRIES: Final = 6
FIRST_WAIT_S: Final = 5.0
"""Six tries with waits of 5, 10, 20, 40 and 80 s: a webhook may be away for two and a half minutes."""

_WAITING_MAX = 100


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What the webhook is told, as JSON. `time` is in epoch milliseconds."""

    alert: AlertKind
    task: str
    state: Literal["raised", "resolved"]
    why: str
    time: int
    source: str = "millrace"


class _Waiting(msgspec.Struct):
    """A message on its way: how often it was tried, and when it is tried next (epoch s)."""

    alert: Alert
    tries: int = 0
    next_at: float = 0.0


class Alerts:
    """Which alerts are raised, and the messages that are on their way. `tick` sends what is due and never waits longer than `TIMEOUT_S`.

    Args:
        url: the webhook; empty for none.
        told: called with the task and `sent` or `given_up` for each message.
    """

    def __init__(self, url: str, told: Callable[[str, str], None] = lambda _task, _outcome: None) -> None:
        self._url = url
        self._told = told
        self._raised: dict[tuple[AlertKind, str], str] = {}
        self._waiting: list[_Waiting] = []

    @property
    def is_raised(self) -> frozenset[tuple[AlertKind, str]]:
        """Kind and task of the alerts that are raised now."""
        return frozenset(self._raised)

    def set(self, kind: AlertKind, task: str, why: str | None, *, now: float) -> None:
        """Raise the alert for a reason, or, with None, take it back; nothing is told twice."""
        known = (kind, task) in self._raised
        if why is not None and not known:
            self._raised[kind, task] = why
            self._tell(Alert(alert=kind, task=task, state="raised", why=why, time=int(now * 1000)), now)
        elif why is None and known:
            was = self._raised.pop((kind, task))
            self._tell(Alert(alert=kind, task=task, state="resolved", why=f"no longer: {was}", time=int(now * 1000)), now)

    def _tell(self, alert: Alert, now: float) -> None:
        log.warning("alert %s of task %s %s: %s", alert.alert, alert.task, alert.state, alert.why)
        if self._url and len(self._waiting) < _WAITING_MAX:
            self._waiting.append(_Waiting(alert, next_at=now))

    def tick(self, now: float) -> None:
        """Send the first message that is due: in order, and one of them, so that a webhook that hangs delays no refresh for long."""
        if not self._waiting or now < self._waiting[0].next_at:
            return
        first = self._waiting[0]
        problem = post(self._url, first.alert)
        first.tries += 1
        first.next_at = now + FIRST_WAIT_S * 2.0 ** (first.tries - 1)
        if problem is None or first.tries >= TRIES:
            self._waiting.pop(0)
            self._told(first.alert.task, "given_up" if problem else "sent")
        if problem is not None:
            end = "given up" if first.tries >= TRIES else f"tried again in {first.next_at - now:.0f} s"
            log.warning("the webhook at %s %s; %s", host_of(self._url), problem, end)


def post(url: str, alert: Alert) -> str | None:
    """Send an alert; return what went wrong, without the URL, or None if it was taken."""
    headers = {"Content-Type": "application/json"}
    try:
        # Not followed to somewhere else: whoever configured the URL meant it.
        answer = requests.post(url, msgspec.json.encode(alert), headers=headers, timeout=TIMEOUT_S, allow_redirects=False, stream=True)
        answer.close()
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        # requests lets some errors of a host's name through. The text of all these holds the URL, and a URL may hold a token.
        return f"does not answer ({type(error).__name__})"
    return None if 200 <= answer.status_code < 300 else f"answers {answer.status_code}"


def host_of(url: str) -> str:
    """Return what of a URL may be in a log.

    >>> host_of("https://me:secret@hooks.example:8443/T0/token?k=v")
    'https://hooks.example:8443'
    >>> host_of("https://hooks.example:token/T0")
    'an address that is none'
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # its text holds what stands where the port should
        return "an address that is none"
    return f"{parts.scheme}://{parts.hostname}{port}"
