"""A headless Chromium: the one that is installed. The benchmarks and the tests of the dashboard drive it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class NoBrowser(RuntimeError):
    """There is none; the message says what to do."""


def executable() -> str:
    """Return the browser to drive: the one that CHROMIUM names, else the first that is found.

    Raises:
        NoBrowser: if there is none.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoBrowser("there is no Chromium: `make system-packages` installs it, or says how")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser. As root it refuses to run in its own sandbox; what it opens is ours."""
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=flags)
        try:
            yield browser
        finally:
            browser.close()
