"""The dashboard on a real run of the generated stream: pictures of it for the documentation, and what it costs the browser.

The stream changes its meaning in the middle, which raises an alarm; a model that has been taught the new one is promoted, on the
page itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from playwright.sync_api import Browser, Page, ViewportSize

from benchmarks.browser import chromium
from benchmarks.live_refresh import PORTS
from benchmarks.taught_release import store_taught
from stack.embedded import Stack
from stack.generator import generate
from store.labelled_files import Row

LINE = "r1-5c1d90e2"
SETTINGS: Mapping[str, object] = {"trending_slide_s": 10, "trending_window_slides": 6, "model_memory_mib": 8}
LARGEST_BYTES = 300_000
"""A picture of the documentation is no larger."""
_DRIFT, _PROMOTED, _PICTURED = 0.45, 0.7, 0.85
"""Shares of the run: the stream changes, a model is promoted, pictures are taken while events flow on."""


def main(arguments: list[str]) -> None:
    """Run the stream, take the pictures and print what the page has cost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dashboard")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the pictures here; otherwise it only measures")
    parser.add_argument("--rate", type=float, default=80.0, help="events a second (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=420, help="length of the stream (default: %(default)s)")
    parser.add_argument("--label-fraction", type=float, default=0.25)
    args = parser.parse_args(arguments)
    events = int(args.rate * args.seconds)
    rows = list(generate(events, seed=11, drift_at=_DRIFT))
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        stack = Stack(Path(folder), SETTINGS, ports=PORTS)
        stack.start()
        try:
            store_taught(stack.settings, LINE, islice(reversed(rows), 2000))
            with _sent(rows, args, Path(folder)), chromium() as browser:
                _watch(browser, stack.addresses["api"], args)
        finally:
            stack.stop(savepoint=False)


@contextmanager
def _sent(rows: list[Row], args: argparse.Namespace, folder: Path) -> Iterator[None]:
    """Send the rows, and labels for a share of them, while the block runs."""
    path = folder / "stream.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode({"text": r.text, "label": r.label, "meta": r.meta}) + b"\n" for r in rows))
    flags = ["--rate", str(args.rate), "--label-delay-s", "2", "--label-fraction", str(args.label_fraction), "--data-dir", str(folder)]
    sender = subprocess.Popen([sys.executable, "-m", "stack", "replay", str(path), *flags], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        sender.terminate()
        sender.wait()


def _watch(browser: Browser, url: str, args: argparse.Namespace) -> None:
    began = time.monotonic()

    def wait_for(share: float) -> None:
        # The run has its own clock, and this is the time until a share of it is over.
        time.sleep(max(0.0, began + share * args.seconds - time.monotonic()))

    page = _opened(browser, url, "light", 1440, 1000)
    wait_for(_PROMOTED - 0.2)
    for view in ("overview", "predictions"):
        _show(page, view)
        _print_cost(page, view, args.rate)
    wait_for(_PROMOTED)
    _promote(page)
    wait_for(_PICTURED)
    if args.pictures:
        _picture_all(browser, page, url, args.pictures)
    page.context.close()


def _opened(browser: Browser, url: str, theme: str, width: int, height: int, *, scale: float = 1, name: str = "ann") -> Page:
    scheme: Literal["light", "dark"] = "dark" if theme == "dark" else "light"
    size: ViewportSize = {"width": width, "height": height}
    context = browser.new_context(base_url=url, viewport=size, color_scheme=scheme, device_scale_factor=scale)
    context.add_init_script(f"localStorage.setItem('millrace-name', '{name}')")
    page = context.new_page()
    page.goto("/")
    return page


def _show(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view.capitalize()).click()
    page.mouse.move(0, 0)


def _promote(page: Page) -> None:
    _show(page, "models")
    page.get_by_role("button", name=f"Promote {LINE}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("it has learned what the products mean now")
    dialog.get_by_role("button", name="Promote").click()
    dialog.get_by_text("Done:").wait_for(timeout=120_000)
    dialog.get_by_role("button", name="Close").click()


def _print_cost(page: Page, view: str, rate: float, seconds: int = 20) -> None:
    """Print how busy the page's thread was, and how much it holds."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def metrics() -> dict[str, float]:
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}

    before = metrics()
    page.wait_for_timeout(seconds * 1000)
    after = metrics()
    busy, scripts = (
        (after[name] - before[name]) / (after["Timestamp"] - before["Timestamp"]) for name in ("TaskDuration", "ScriptDuration")
    )
    print(
        f"{view}, {rate:.0f} events a second: the page's thread was busy for {busy:.1%} of {seconds} s ({scripts:.1%} in scripts), "
        f"{after['JSHeapUsedSize'] / 2**20:.0f} MiB of heap, {page.locator('.rows > li').count()} rows",
        flush=True,
    )


def _picture_all(browser: Browser, page: Page, url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _show(page, "overview")
    _picture(page, folder / "dashboard.png", whole=True)
    _show(page, "predictions")
    page.get_by_label("Search the texts").fill("#delivery")
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Why").nth(1).click()
    _picture(page, folder / "dashboard-predictions.png")
    dark = _opened(browser, url, "dark", 1440, 1000)
    _show(dark, "quality")
    _picture(dark, folder / "dashboard-dark.png", whole=True)
    phone = _opened(browser, url, "light", 360, 780, scale=2)
    _picture(phone, folder / "dashboard-phone.png")
    review = _opened(browser, url, "light", 1180, 620, name="rita")
    _show(review, "review")
    for key in "rsrsr":
        review.locator("#review-text:focus").wait_for()
        review.keyboard.press(key)
        review.wait_for_timeout(1500)
    _picture(review, folder / "dashboard-review.png")
    for opened in (dark, phone, review):
        opened.context.close()


def _picture(page: Page, path: Path, *, whole: bool = False) -> None:
    # Charts draw once a second, and what is asked for comes within some seconds.
    page.wait_for_timeout(8000)
    data = page.screenshot(full_page=whole)
    if len(data) > LARGEST_BYTES:
        raise SystemExit(f"{path.name} has {len(data)} bytes, more than {LARGEST_BYTES}")
    path.write_bytes(data)
    print(f"{path}: {len(data) / 1000:.0f} kB", flush=True)
