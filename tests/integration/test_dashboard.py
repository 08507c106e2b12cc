"""The dashboard in a real browser, on a real API: with nothing in it, with harmful texts; by keyboard, on a phone, in the dark."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from api.access.key_file import KeyFile, new_key, write_key_file
from benchmarks.browser import chromium
from schemas.api_settings import ApiSettings
from schemas.settings import Settings
from stack.redis import start_redis
from tests.browser import OPEN_PAGE, WAIT_MS, pages
from tests.integration.breakable import breakable
from tests.integration.conftest import create_topics, serving
from tests.integration.dashboard_world import EVENTS, MARKUP, RELEASED, filled, settings_for, until
from tests.integration.played_jobs import Jobs, playing

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

VIEWS = ("overview", "predictions", "quality", "review", "models", "system")
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def api(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("dashboard")
    redis = start_redis(folder / "redis")
    with ExitStack() as stack:
        stack.callback(redis.stop)
        create_topics(kafka, "dashboard-")
        settings = settings_for(redis, kafka, "dashboard-", folder / "artifacts")
        stack.enter_context(filled(settings))
        stack.enter_context(playing(Jobs(settings)))
        client = stack.enter_context(serving(settings))
        until(client, "/v1/classes", "anger", task="mood")
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(api: httpx.Client, browser: Browser) -> Iterator[OPEN_PAGE]:
    with pages(browser, str(api.base_url).rstrip("/")) as open_page:
        yield open_page


def send(api: httpx.Client, path: str, body: object) -> None:
    assert api.post(path, json=body).status_code == 202


def show(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view.capitalize()).click()
    # The review goes on to the text that is to be labelled, if there is one.
    expect(page.locator(f"#{view}-title:focus, #review-text:focus")).to_have_count(1)


def test_with_nothing_in_it_the_page_says_what_to_send_and_that_works(api: httpx.Client, open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=quiet")
    steps = page.get_by_role("region", name="Nothing has come in yet")
    curl, kcat = (steps.locator("pre").nth(n).inner_text().splitlines() for n in (0, 1))
    assert [shlex.split(line)[-3:-2] for line in kcat] == [["-t"], ["-t"]]
    kafka = api.get("/v1/tasks").json()["kafka"]
    assert all(f"-b {kafka} -P -t dashboard-{topic} -K:" in line for line, topic in zip(kcat, ("events", "feedback"), strict=True))
    for line, path in zip(curl, ("/v1/events", "/v1/feedback"), strict=True):
        words = shlex.split(line)
        assert words[:3] == ["curl", "-s", str(api.base_url.join(path))]
        answer = httpx.post(words[2], content=words[words.index("-d") + 1], headers=dict([words[words.index("-H") + 1].split(": ")]))
        assert answer.status_code == 202, answer.text
    for view in VIEWS[1:]:
        show(page, view)
        expect(page.locator(f"#{view} .body:visible .said:has-text('undefined')")).to_have_count(0)
    show(page, "quality")
    expect(page.locator("#confusion .said")).to_have_text("No label has scored a prediction yet.")


def test_what_is_sent_comes_by_itself_and_a_correction_is_followed_until_it_is_learned(api: httpx.Client, open_page: OPEN_PAGE) -> None:
    page = open_page("/#predictions")
    send(api, "/v1/events", [{"event_id": f"live-{n}", "text": f"where is my parcel {n}"} for n in range(3)])
    first = page.locator("[data-event=live-0]")
    expect(first).to_contain_text("where is my parcel 0")
    expect(first).to_contain_text("no class yet")
    expect(first.get_by_role("button", name=re.compile("^Right"))).to_be_disabled()
    # A label of a class that nobody knows: typed.
    first.get_by_role("button", name=re.compile("^Why")).click()
    first.get_by_label("Another label, known or new").fill("delivery")
    first.get_by_role("button", name="Give label").click()
    expect(first.locator(".pill").first).to_have_text(re.compile(r"^trained · seq \d+$"))
    expect(first).to_contain_text("by ann")
    first.get_by_role("button", name=re.compile("^Why")).click()
    page.mouse.move(0, 0)
    # Now the model knows the class; what it predicts is right at a click.
    send(api, "/v1/events", {"event_id": "live-9", "text": "the parcel is late"})
    later = page.locator("[data-event=live-9]")
    expect(later).to_contain_text("delivery")
    later.get_by_role("button", name=re.compile("^Right")).click()
    expect(later.locator(".pill").first).to_have_text(re.compile(r"^(trained|duplicate)"))
    label = api.get("/v1/labels/live-9").json()["history"][-1]
    assert (label["feedback"]["source"], label["feedback"]["reviewer"]) == ("dashboard", "ann")
    expect(page.get_by_text(re.compile(r"^Showing \d"))).to_be_visible()


def test_a_stream_that_broke_is_taken_up_where_it_was(api: httpx.Client, browser: Browser) -> None:
    with breakable(api.base_url.port or 0) as between, pages(browser, f"http://127.0.0.1:{between.port}") as open_page:
        page = open_page("/#predictions")
        expect(page.locator("#live")).to_have_text("live")
        send(api, "/v1/events", {"event_id": "gone-0", "text": "before"})
        expect(page.locator("[data-event=gone-0]")).to_be_visible()
        asked: list[str | None] = []
        page.on("request", lambda request: asked.append(request.headers.get("last-event-id")) if "/v1/live" in request.url else None)
        between.cut()
        expect(page.locator("#live")).to_have_text("reconnecting")
        expect(page.locator("#health-pill")).to_have_text("API away")
        send(api, "/v1/events", {"event_id": "gone-1", "text": "meanwhile"})
        between.mend()
        expect(page.locator("[data-event=gone-1]")).to_be_visible()
        expect(page.locator("#live")).to_have_text("live")
        assert asked
        assert all(asked), "it says where it was"


def test_texts_are_shown_as_they_are_and_do_no_harm(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood")
    expect(page.locator("#trending")).to_contain_text("#" + MARKUP[:20])
    expect(page.locator("#labels .legend")).to_contain_text(MARKUP[:12])
    for view in VIEWS:
        show(page, view)
        if view == "predictions":
            row = page.locator("[data-event=m5]")
            expect(row).to_contain_text(MARKUP)
            row.get_by_role("button", name=re.compile("^Why")).click()
            expect(row.locator(".facts")).to_contain_text(f"channel: {MARKUP[:20]}")
        if view == "quality":
            expect(page.locator("#confusion .ytick").filter(has_text=MARKUP[:12])).to_be_visible()
        if view == "models":
            expect(page.locator("#changes")).to_contain_text(MARKUP)
        expect(page.locator("main img, main script, main b")).to_have_count(0)
    assert page.evaluate("window.harmed") is None


def test_charts_have_their_figures_as_tables(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood")
    for chart, column in (("throughput", "predictions a second"), ("labels", "anger"), ("accuracy", "accuracy")):
        card = page.locator(f"#{chart}")
        expect(card.locator(".plot")).to_have_attribute("aria-label", re.compile(r": .*\d"))
        expect(card.locator("svg.main-svg").first).to_be_visible()
        card.get_by_text("As a table").click()
        expect(card.get_by_role("columnheader", name=column)).to_be_visible()
    expect(page.locator("#accuracy table")).to_contain_text("drift alarm 1")
    expect(page.locator("#accuracy table")).to_contain_text("r0-old released, serves")
    show(page, "quality")
    for chart in ("history", "confusion", "calibration"):
        expect(page.locator(f"#{chart} svg.main-svg").first).to_be_visible()


def test_filters_search_and_rank(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood#predictions")
    rows = page.locator(".rows > li")
    expect(rows).to_have_count(EVENTS)
    page.get_by_role("combobox", name="Label", exact=True).select_option("joy")
    expect(rows).to_have_count(EVENTS // 3)
    page.get_by_label("Surest at least").fill("80")
    expect(rows).to_have_count(2)
    page.get_by_label("Order").select_option("score")
    expect(rows.first).to_contain_text("(37)")
    page.get_by_label("Surest at least").fill("")
    page.get_by_label("Search the texts").fill("thank")
    expect(rows).to_have_count(EVENTS // 3)
    page.get_by_label("Search the texts").fill("nobody says this")
    expect(page.get_by_text("No prediction fits these filters.")).to_be_visible()


def test_a_text_is_classified_at_once_with_its_reasons(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood")
    page.get_by_label("Text to classify").fill("thank you so much")
    page.keyboard.press("Control+Enter")
    result = page.locator("#try .evidence")
    expect(result).to_contain_text("thank")
    expect(page.locator("#try")).to_contain_text("joy")


def test_a_line_is_promoted_and_rolled_back_and_the_answer_shows(api: httpx.Client, open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood#models")
    opener = page.get_by_role("button", name=f"Promote {RELEASED}")
    opener.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Who asks")).to_have_value("ann")
    expect(dialog.get_by_label("Why")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()
    opener.press("Enter")
    dialog.get_by_label("Why").fill("it is better")
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog.get_by_role("status")).to_contain_text(f"Done: {RELEASED} released, serves. It is entry")
    dialog.get_by_role("button", name="Close").click()
    serving = page.locator("#lines tbody tr", has_text="serving")
    expect(serving).to_contain_text(RELEASED)
    page.get_by_role("button", name="Roll back").click()
    dialog.get_by_label("Why").fill("it is not")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog.get_by_role("status")).to_contain_text(f"rolled back to r0-old from {RELEASED}")
    dialog.get_by_role("button", name="Close").click()
    expect(serving).to_contain_text("r0-old")
    expect(page.locator("#changes tbody tr").first).to_contain_text("it is not")
    # Someone else is faster: what was asked of another standing is refused.
    opener.click()
    asked = {"by": "bob", "why": "faster"}
    assert api.post(f"/v1/models/{RELEASED}/promote", params={"task": "mood", "wait_s": 20}, json=asked).status_code == 200
    dialog.get_by_label("Why").fill("again")
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog.get_by_role("status")).to_contain_text("the learner refused it")
    expect(dialog.get_by_role("button", name="Promote")).to_be_enabled()


def asked(page: Page, before: str | None = None) -> str:
    """The event that the review asks about, once it is another than before."""
    item = page.locator(".asked[data-event]" + (f":not([data-event='{before}'])" if before else ""))
    expect(item).to_have_count(1)
    expect(page.locator("#review-text")).to_be_focused()
    return str(item.get_attribute("data-event"))


def test_the_review_is_done_by_keys_alone(api: httpx.Client, open_page: OPEN_PAGE) -> None:
    send(api, "/v1/events", {"event_id": "seen-0", "text": "my parcel"})
    send(api, "/v1/feedback", {"event_id": "seen-0", "label": "delivery"})
    until(api, "/v1/classes", "delivery")
    send(api, "/v1/events", [{"event_id": f"seen-{n}", "text": f"a text to review {n}"} for n in range(1, 8)])
    until(api, "/v1/predictions", "seen-7", label="delivery")
    page = open_page("/#review", name="")
    page.get_by_label("Your name").fill("rita")
    page.keyboard.press("Enter")
    right = asked(page)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("the class with that number")
    page.keyboard.press("w")
    page.keyboard.press("Escape")
    assert asked(page) == right, "a key in a dialog labels nothing"
    page.keyboard.press("r")
    wrong = asked(page, right)
    page.keyboard.press("w")
    skipped = asked(page, wrong)
    page.keyboard.press("s")
    new = asked(page, skipped)
    page.keyboard.press("n")
    page.keyboard.type("r w s 1")
    page.keyboard.press("Escape")
    assert asked(page) == new
    page.keyboard.press("n")
    page.keyboard.press("Control+A")
    page.keyboard.type("complaint")
    page.keyboard.press("Enter")
    chosen = asked(page, new)
    expect(page.locator(".choices button", has_text="complaint")).to_be_visible()
    number = page.locator(".choices button", has_text="complaint").get_attribute("aria-keyshortcuts")
    page.keyboard.press(str(number))
    asked(page, chosen)
    for event_id, said in (
        (right, '"verdict":"right"'),
        (wrong, '"state":"marked"'),
        (new, '"label":"complaint"'),
        (chosen, '"label":"complaint"'),
    ):
        until(api, f"/v1/labels/{event_id}", said)
        assert '"reviewer":"rita"' in api.get(f"/v1/labels/{event_id}").text
    assert "rita" not in api.get(f"/v1/labels/{skipped}").text, "whoever skips says nothing"
    expect(page.locator("#review-stats")).to_contain_text("rita")


def test_the_page_is_walked_by_keyboard(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.get_by_role("link", name="Quality", exact=True).press("Enter")
    expect(page.get_by_role("heading", name="Quality", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#quality-range input:checked")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="1 day")).to_be_checked()
    outline = page.evaluate("getComputedStyle(document.querySelector('#quality-range input:focus-visible + span')).outlineStyle")
    assert outline == "solid"
    page.go_back()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def background(page: Page) -> str:
    found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


def test_the_theme_follows_the_system_until_one_is_chosen_which_stays(open_page: OPEN_PAGE) -> None:
    light, dark = open_page("/?task=mood"), open_page("/?task=mood", theme="dark")
    assert background(light) != background(dark)
    night = background(dark)
    toggle = light.locator("#theme")
    for chosen in ("light", "dark"):
        toggle.click()
        expect(toggle).to_have_attribute("aria-label", f"Theme: {chosen}")
    assert background(light) == night
    light.reload(wait_until="commit")
    light.locator("h1:visible").wait_for()
    assert background(light) == night
    light.emulate_media(color_scheme="dark")
    assert background(light) == night


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_no_view_has_a_serious_fault_for_a_screen_reader_or_is_wider_than_the_screen(open_page: OPEN_PAGE, theme: str, width: int) -> None:
    page = open_page("/?task=mood", width=width, theme=theme)
    for view in VIEWS:
        show(page, view)
        prepare(page, view)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        bad = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert bad == [], json.dumps(bad, indent=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        page.keyboard.press("Escape")


def prepare(page: Page, view: str) -> None:
    """Bring up what a view has."""
    if view == "overview":
        expect(page.locator("#overview svg.main-svg").first).to_be_visible()
    if view == "predictions":
        page.locator("[data-event=m5]").get_by_role("button", name=re.compile("^Why")).click()
        expect(page.locator("[data-event=m5] .facts")).to_be_visible()
    if view == "quality":
        expect(page.locator("#confusion svg.main-svg").first).to_be_visible()
    if view == "models":
        page.get_by_role("button", name=re.compile("^Promote")).first.click()


def test_who_wants_no_motion_gets_none(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=mood")
    moving = "[...document.querySelectorAll('*')].filter((node) => getComputedStyle(node).transitionDuration !== '0s').length"
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


def test_a_key_is_asked_for_and_kept_in_the_tab_only(browser: Browser, tmp_path: Path) -> None:
    entry, text = new_key("reader", ("read",), now=time.time_ns() // 1_000_000)
    write_key_file(tmp_path / "keys.json", KeyFile(keys=(entry,)))
    nowhere = Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1/0")
    with serving(nowhere, ApiSettings(keys=str(tmp_path / "keys.json"))) as client, pages(browser, str(client.base_url)) as open_page:
        page = open_page()
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("Key").fill("guessed")
        page.keyboard.press("Enter")
        expect(dialog.get_by_label("Key")).to_have_value("")
        dialog.get_by_label("Key").fill(text)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Signed in as reader (read)")).to_be_visible()
        expect(dialog).to_have_count(0)
        expect(page.locator("#trending .said")).to_contain_text("Not available now")
        assert page.evaluate("[...Object.values(localStorage)].join()").count(text) == 0
        page.reload()
        expect(page.get_by_text("Signed in as reader (read)")).to_be_visible()
        page.get_by_role("button", name="API key").click()
        dialog.get_by_role("button", name="Forget it").click()
        expect(dialog.get_by_label("Key")).to_be_visible()


STREAM = """async ([source, text, ways]) => {
  const { EventStream } = await import(source);
  return ways.map((cuts) => {
    const stream = new EventStream();
    const events = [];
    let from = 0;
    for (const cut of [...cuts, text.length]) { events.push(...stream.push(text.slice(from, cut))); from = cut; }
    return { events, lastId: stream.lastId, retryMs: stream.retryMs };
  });
}"""
SENT = ': hello\r\nretry: 1500\r\n\r\nevent: counts\rdata: {"a":\rdata: 1}\rid: 7\r\rdata\n\nid\ndata:  two\n\ndata: lost\nid: 9'


def test_a_stream_of_events_is_taken_apart_alike_wherever_it_is_cut(open_page: OPEN_PAGE) -> None:
    page = open_page("/?task=quiet")
    source = page.locator("script[type=module]").get_attribute("src")
    assert source
    module = "/" + source.replace("main.js", "core/sse.js")
    ways = [[], list(range(1, len(SENT))), *([cut] for cut in range(1, len(SENT)))]
    whole, *others = page.evaluate(STREAM, [module, SENT, ways])
    assert whole["events"] == [
        {"type": "counts", "data": '{"a":\n1}', "id": "7"},
        {"type": "message", "data": "", "id": "7"},
        {"type": "message", "data": " two", "id": ""},
    ]
    assert (whole["lastId"], whole["retryMs"]) == ("", 1500)
    assert [ways[place] for place, found in enumerate(others, 1) if found != whole] == []
