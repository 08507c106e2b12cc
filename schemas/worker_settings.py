"""The settings of the refresh worker: what starts a refresh by itself, and what is worth an alert. Units are in the names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from schemas.refresh_settings import REFRESH_PREFIX, FromZero, Part
from schemas.settings import Positive, SettingsError, read_prefixed, to_environment


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the worker refreshes, and when it raises an alert. Every field is the environment variable MILLRACE_REFRESH_<NAME IN CAPITALS>.

    Attributes:
        every_s: a refresh so long after the last one; 0 for no schedule.
        after_labels: a refresh after so many labels since the last one; 0 for none.
        on_drift: a refresh when a drift alarm has been raised since the last one.
        on_fall: a refresh when the accuracy of the served predictions over the window is so much below the best since the last one, or
            below that over all labels; 0 for none.
        least_labels: none of these before so many labels since the last one; twice `gate_least_labels` is enough for the first one.
        pause_s: nor sooner after the last one than this.
        retry_s: a refresh that failed is tried again after this, then after twice this, and so on …
        retry_longest_s: … and at the latest after this.
        time_limit_s: a refresh that takes longer is stopped, and has failed.
        stale_labels_s: an alert when no label has been learned for so long; 0 for none.
        stale_refresh_s: an alert when no refresh has come to its end for so long; 0 for none.
        alert_url: alerts are sent there as JSON (POST); empty for none. It may hold a secret, and is not logged.
    """

    every_s: FromZero = 0
    after_labels: FromZero = 0
    on_drift: bool = False
    on_fall: Part = 0.0
    least_labels: Positive = 400
    pause_s: FromZero = 60
    retry_s: Positive = 60
    retry_longest_s: Positive = 6 * 3600
    time_limit_s: Positive = 24 * 3600
    stale_labels_s: FromZero = 0
    stale_refresh_s: FromZero = 0
    alert_url: Annotated[str, msgspec.Meta(pattern="^(https?://[^/\\s]+[^\\s]*)?\\Z")] = ""

    @property
    def has_work(self) -> bool:
        """Whether there is something to watch for: a trigger, or something that may become stale."""
        return bool(self.every_s or self.after_labels or self.on_drift or self.on_fall or self.stale_labels_s or self.stale_refresh_s)


def read_worker_settings(environment: Mapping[str, str]) -> WorkerSettings:
    """Return the settings of the worker in `environment` (keys with the prefix MILLRACE_REFRESH_).

    Raises:
        SettingsError: naming every variable that is wrong, and why; of the URL only its name, since it may hold a secret.

    >>> read_worker_settings({"MILLRACE_REFRESH_AFTER_LABELS": "1000"}).has_work
    True
    """
    name = f"{REFRESH_PREFIX}ALERT_URL"
    try:
        found = read_prefixed(environment, WorkerSettings, REFRESH_PREFIX)
    except SettingsError as error:
        url = environment.get(name, "")
        raise SettingsError(str(error).replace(repr(url), "…") if url else str(error)) from None
    if not _is_url(found.alert_url):
        raise SettingsError(f"{name}=…: expected a URL with a host, and a port from 0 to 65535 if it names one")
    return found


def _is_url(text: str) -> bool:
    """Whether the text is empty, or a URL whose host and port can be read."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # to read it is to check it
    except ValueError:
        return False
    return not text or bool(parts.hostname)


def worker_environment(settings: WorkerSettings) -> dict[str, str]:
    """Return the settings as environment variables; `read_worker_settings` gives them back.

    >>> read_worker_settings(worker_environment(WorkerSettings(on_drift=True))).on_drift
    True
    """
    return to_environment(settings, REFRESH_PREFIX)
