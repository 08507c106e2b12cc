"""The dashboard on the whole stack with the generated stream: what arrives shows, and what is said on the page is done."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import Page, expect

from benchmarks.browser import chromium
from benchmarks.taught_release import store_taught
from stack.embedded import Stack
from stack.generator import generate
from store.labelled_files import Row
from tests.browser import pages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LINE = "r1-taught"
OVERRIDES = {"model_memory_mib": 2, "snapshot_interval_s": 5, "trending_slide_s": 2, "trending_window_slides": 5}
LABELS_MS = 10_000
SLOW_MS = 60_000
"""The first prediction waits until the code is compiled, the first change until the line is built."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder / "data", OVERRIDES, ports=dict.fromkeys(("kafka", "redis", "flink_rest", "api"), 0))
    stack.start(print)
    yield stack
    stack.stop(savepoint=False)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(islice(generate(20_000, seed=5), 5000))


@pytest.fixture
def page(stack: Stack) -> Iterator[Page]:
    with chromium() as browser, pages(browser, stack.addresses["api"]) as open_page:
        yield open_page()


def flow(stack: Stack, rows: list[Row], folder: Path) -> subprocess.Popen[str]:
    """Send the rows as events, and labels for a third of them a second later."""
    path = folder / "stream.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode({"text": row.text, "label": row.label}) + b"\n" for row in rows))
    flags = ("--rate", "150", "--label-delay-s", "1", "--label-fraction", "0.3", "--data-dir", str(stack.folder.root))
    command = [sys.executable, "-m", "stack", "replay", str(path), *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def show(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view.capitalize()).click()
    expect(page.get_by_role("heading", level=1, name=view.capitalize())).to_be_visible()


def never_labelled(page: Page, stack: Stack) -> str:
    """Return an event on the page that the sender gives no label: those of the others follow their events within seconds."""
    page.wait_for_timeout(LABELS_MS)
    shown = page.locator(".rows > li").evaluate_all("rows => rows.map(row => row.dataset.event)")
    return next(str(name) for name in shown if httpx.get(f"{stack.addresses['api']}/v1/labels/{name}").status_code == 404)


def change(page: Page, verb: str, why: str) -> None:
    """Ask for a change of the model, and wait for what the learner answers."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill(why)
    dialog.get_by_role("button", name=verb).click()
    expect(dialog.get_by_role("status")).to_have_text(re.compile(r"^Done: .* entry \d"), timeout=SLOW_MS)
    dialog.get_by_role("button", name="Close").click()


def test_what_happens_shows_without_reload_and_what_is_said_on_the_page_is_done(
    stack: Stack, page: Page, rows: list[Row], tmp_path: Path
) -> None:
    store_taught(stack.settings, LINE, rows[:500])
    expect(page.get_by_role("heading", name="Nothing has come in yet")).to_be_visible()
    expect(page.locator("#health-pill")).to_have_text("all parts ready", timeout=SLOW_MS)
    page.evaluate("window.loaded = true")
    with flow(stack, rows[500:], tmp_path) as sender:
        watch_and_correct(stack, page)
        assert page.evaluate("window.loaded") is True, "nothing of this took a reload"
        _, err = sender.communicate(timeout=120)
        assert sender.returncode == 0, err


def watch_and_correct(stack: Stack, page: Page) -> None:
    # It arrives.
    expect(page.locator("#latest li")).to_have_count(8, timeout=SLOW_MS)
    expect(page.get_by_role("heading", name="Nothing has come in yet")).to_have_count(0)
    expect(page.locator("#figures dd.value").first).to_have_text(re.compile(r"[1-9]"))
    expect(page.locator("#trending tbody tr").first).to_contain_text("#", timeout=SLOW_MS)
    page.locator("#accuracy summary").click(timeout=SLOW_MS)
    expect(page.locator("#accuracy tbody tr").first).to_have_text(re.compile(r"\d %"))
    for chart in ("throughput", "latency", "labels", "accuracy"):
        expect(page.locator(f"#{chart} svg.main-svg").first).to_be_visible()

    # What someone says is learned.
    show(page, "predictions")
    rows_shown = page.locator(".rows > li")
    expect(rows_shown.nth(20)).to_be_visible()
    page.get_by_role("button", name="Following").click()
    row = page.locator(f'[data-event="{(event_id := never_labelled(page, stack))}"]')
    row.get_by_role("button", name=re.compile("^Wrong")).click()
    expect(row.locator(".pill").first).to_have_text(re.compile("marked"), timeout=SLOW_MS)
    row.get_by_label("Another label, known or new").fill("never heard of")
    row.get_by_role("button", name="Give label").click()
    expect(row.locator(".pill").first).to_have_text(re.compile(r"^(trained|corrected) · seq [\d,]+$"), timeout=SLOW_MS)
    expect(row.locator(".evidence")).to_be_visible()
    receipt = httpx.get(f"{stack.addresses['api']}/v1/labels/{event_id}").json()
    assert (receipt["label"], receipt["history"][-1]["feedback"]["reviewer"]) == ("never heard of", "ann")

    # A line is promoted, serves, and is taken back.
    show(page, "models")
    page.get_by_role("button", name=f"Promote {LINE}").click()
    change(page, "Promote", "it was taught")
    expect(page.locator("#lines tbody tr", has_text="serving")).to_contain_text(LINE)
    show(page, "overview")
    expect(page.locator("#figures")).to_contain_text(LINE, timeout=SLOW_MS)
    show(page, "models")
    page.get_by_role("button", name="Roll back").click()
    change(page, "Roll back", "a drill")
    expect(page.locator("#lines tbody tr", has_text="serving")).to_contain_text("base")
    expect(page.locator("#changes tbody")).to_contain_text("a drill")
    show(page, "quality")
    page.locator("#history summary").click()
    expect(page.locator("#history tbody")).to_contain_text(f"rolled back to base from {LINE}")
