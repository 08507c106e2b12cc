"""Pages of the dashboard for its tests: each remembers what goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page

WAIT_MS = 20_000
"""How long a condition on the page may take; two shared cores can be slow."""

OPEN_PAGE = Callable[..., Page]


@contextmanager
def pages(browser: Browser, base_url: str) -> Iterator[OPEN_PAGE]:
    """Give a function that opens the dashboard in a context of its own; no page may have thrown, or broken its own policy."""
    wrong: list[str] = []
    contexts = []

    def open_page(path: str = "/", *, width: int = 1280, theme: str = "light", name: str = "ann", wait_for: str = "h1:visible") -> Page:
        context = browser.new_context(
            base_url=base_url, viewport={"width": width, "height": 800}, color_scheme="dark" if theme == "dark" else "light"
        )
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(f"if (!localStorage.getItem('millrace-name')) localStorage.setItem('millrace-name', '{name}')")
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error.stack}"))
        page.on("console", lambda said: wrong.append(f"{page.url}: {said.text}") if _is_wrong(said.type, said.text) else None)
        page.on("request", lambda request: None if request.url.startswith((base_url, "data:")) else wrong.append(f"asks {request.url}"))
        page.goto(path)
        page.locator(wait_for).first.wait_for()
        return page

    try:
        yield open_page
    finally:
        for context in contexts:
            context.close()
    assert wrong == []


def _is_wrong(kind: str, text: str) -> bool:
    # What a server refuses is told to the person on the page; the browser notes it as well.
    return kind in ("error", "warning") and not text.startswith("Failed to load resource")
