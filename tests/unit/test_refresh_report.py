"""The report of a refresh: that it says what it must, and that nothing a user wrote is more than text in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from batch_model import report_parts
from batch_model.outcome import Outcome, Verdict
from batch_model.publishing import without_secrets
from batch_model.report import page
from batch_model.rows import LabelledText
from schemas.records import Scores
from stack.generator import generate
from tests.refresh_outcome import outcome_of

pytestmark = pytest.mark.unit

VOID = {"meta", "br", "link", "img"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(2)>",
    "\"' onmouseover=alert(3) x='",
    "{{ 7 * 191 }}",
    "-->]]></svg><a href=javascript:alert(4)>",
]


class Page(HTMLParser):
    """The page as a browser's first step takes it; fails where tags are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.said))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    rows = [LabelledText(row.text, row.label or "") for row in generate(1500, seed=3)]
    return outcome_of(rows, cut_seq=1050, cases=[(rows[0].text, rows[0].label), ("?!", "no such class")])


@pytest.fixture(scope="module")
def hostile(outcome: Outcome) -> Outcome:
    """The same refresh on data of somebody who wants to run code in the browser of whoever looks at it."""

    def name(label: str | None) -> str:
        return f"{label} {HOSTILE[hash_of(label) % len(HOSTILE)]}"

    def hash_of(label: str | None) -> int:
        return sum(map(ord, label or ""))

    def renamed(scores: Scores) -> Scores:
        return msgspec.structs.replace(scores, per_class={name(k): v for k, v in scores.per_class.items()})

    gate = outcome.manifest.gate
    assert gate is not None
    cases = [msgspec.structs.replace(case, text=HOSTILE[0], required=HOSTILE[1], predicted=HOSTILE[2]) for case in gate.cases]
    gate = msgspec.structs.replace(
        gate, champion=renamed(gate.champion), challenger=renamed(gate.challenger), cases=cases, champion_line=HOSTILE[0]
    )
    parameters = {HOSTILE[0]: HOSTILE[1]}
    return msgspec.structs.replace(
        outcome,
        manifest=msgspec.structs.replace(
            outcome.manifest, gate=gate, by=HOSTILE[1], why=HOSTILE[0], candidate=HOSTILE[4], parameters=parameters, versions=parameters
        ),
        reasons=HOSTILE,
        compared=[
            msgspec.structs.replace(
                one, text=HOSTILE[i % 5] + str(i), true=name(one.true), champion=name(one.champion), challenger=name(one.challenger)
            )
            for i, one in enumerate(outcome.compared)
        ],
        candidates=[msgspec.structs.replace(c, name=HOSTILE[1], parameters=parameters) for c in outcome.candidates],
        class_rows={name(label): count for label, count in outcome.class_rows.items()},
        command=HOSTILE[0],
    )


def test_the_report_says_what_happened_and_how_to_repeat_it(outcome: Outcome) -> None:
    said = Page(page(outcome)).text
    manifest, gate = outcome.manifest, outcome.manifest.gate
    assert gate is not None
    assert manifest.origin.artifact is not None
    for part in (
        report_parts.headline(outcome),
        *outcome.reasons,
        report_parts.paired_test(gate, outcome.settings.gate_error),
        manifest.line,
        manifest.data.fingerprint,
        manifest.origin.artifact.sha256,
        outcome.command,
        *(stage.name for stage in outcome.stages),
        *(candidate.name for candidate in outcome.candidates),
        *outcome.class_rows,
        *(f"{name} {version}" for name, version in manifest.versions.items()),
        report_parts.percent(gate.challenger.accuracy, 1),
        f"{manifest.data.rows:,}",
        "fell too far" if any(row.fell for row in report_parts.class_rows(outcome)) else "Per class",
        "no such class",
        "1 of 2 passed: all must.",
    ):
        assert re.sub(r"\s+", " ", part) in said


def test_texts_labels_and_names_are_text_and_never_markup(hostile: Outcome) -> None:
    html = page(hostile)
    parsed = Page(html)
    assert {tag for tag, _ in parsed.tags} & {"script", "img", "iframe", "object", "link", "a"} == set()
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    for text in HOSTILE:
        assert re.sub(r"\s+", " ", text) in parsed.text
    assert "1337" not in html


@pytest.mark.parametrize("kind", ["outcome", "hostile"])
def test_the_page_asks_for_nothing_outside_itself(kind: str, request: pytest.FixtureRequest) -> None:
    html = page(request.getfixturevalue(kind))
    assert not re.search(r"https?://|url\(|@import", html)
    parsed = Page(html)
    assert not [value for _, attributes in parsed.tags for name, value in attributes.items() if name in {"src", "href", "srcset", "action"}]
    policy = [a["content"] for tag, a in parsed.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_every_chart_has_a_name_for_those_who_cannot_see_it(outcome: Outcome) -> None:
    tags = Page(page(outcome)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in tags if tag == "svg" and "role" in attributes]
    assert len(charts) >= 6
    assert {attributes["aria-labelledby"] for attributes in charts} <= set(ids)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("released", "Released: {line} serves"),
        ("shadow", "Watched: {line} runs as a shadow"),
        ("split", "On trial: {line} serves a share of the events"),
        ("dry run", "Dry run: {line} would be released"),
        ("kept", "Kept: base goes on serving"),
        ("refused", "Refused: base goes on serving"),
    ],
)
def test_the_verdict_comes_first(outcome: Outcome, verdict: Verdict, said: str) -> None:
    parsed = Page(page(judged(outcome, verdict, passed=True)))
    assert said.format(line=outcome.manifest.line) in parsed.text[:300]
    assert banner(parsed).endswith("no") == (verdict in {"kept", "refused"})


def test_a_release_against_the_gate_looks_like_what_it_is(outcome: Outcome) -> None:
    assert banner(Page(page(judged(outcome, "released", passed=False)))).endswith("no")


def judged(outcome: Outcome, verdict: Verdict, *, passed: bool) -> Outcome:
    gate = outcome.manifest.gate
    assert gate is not None
    manifest = msgspec.structs.replace(outcome.manifest, gate=msgspec.structs.replace(gate, passed=passed))
    return msgspec.structs.replace(outcome, verdict=verdict, manifest=manifest)


def banner(parsed: Page) -> str:
    return next(attributes["class"] for tag, attributes in parsed.tags if tag == "section")


def test_without_a_champion_the_report_is_of_the_test_part(outcome: Outcome) -> None:
    gate = outcome.manifest.gate
    assert gate is not None
    alone = msgspec.structs.replace(
        outcome, manifest=msgspec.structs.replace(outcome.manifest, gate=None, parent=None), verdict="trained", test=gate.challenger
    )
    said = Page(page(alone)).text
    assert "rows of the part test" in said
    assert "champion" not in said.partition("Training")[0].replace("Confusion matrix of the challenger", "")


def test_many_classes_begin_with_those_that_fell(outcome: Outcome) -> None:
    rows = [LabelledText(f"word{i % 40} and more", f"class {i % 40:02}") for i in range(1200)]
    parsed = Page(page(outcome_of(rows)))
    assert "The other 28 classes" in parsed.text
    assert "The other 30 classes" in parsed.text


def test_a_class_is_marked_as_fallen_if_the_gate_said_so(outcome: Outcome) -> None:
    gate = outcome.manifest.gate
    assert gate is not None
    one = next(iter(gate.challenger.per_class))
    for fallen, marked in (([one], True), ([], False)):
        said = msgspec.structs.replace(gate, fallen=fallen)
        with_fall = msgspec.structs.replace(outcome, manifest=msgspec.structs.replace(outcome.manifest, gate=said))
        assert ("▼ fell too far" in page(with_fall)) == marked


@pytest.mark.parametrize(
    ("champion", "challenger", "p", "said"),
    [
        (0, 0, 1.0, "cannot be told apart"),
        (5, 5, 0.6, "nothing speaks for the challenger"),
        (10, 20, 0.0244, "in 2.44\xa0% of such comparisons"),
        (10, 20, 0.0244, "more than luck"),
        (10, 14, 0.27, "perhaps only luck"),
        (10, 90, 1e-15, "in fewer than 1 of 10,000"),
    ],
)
def test_the_paired_test_is_said_in_words(outcome: Outcome, champion: int, challenger: int, p: float, said: str) -> None:
    gate = outcome.manifest.gate
    assert gate is not None
    gate = msgspec.structs.replace(gate, only_champion=champion, only_challenger=challenger, p_value=p)
    assert said in report_parts.paired_test(gate, 0.05)


def test_the_password_of_a_registry_is_in_no_page(outcome: Outcome) -> None:
    settings = msgspec.structs.replace(outcome.settings, registry="postgresql://me:s3cr3t@db.example/mlflow")
    shown = page(without_secrets(msgspec.structs.replace(outcome, settings=settings)))
    assert "s3cr3t" not in shown
    assert "postgresql://me:***@db.example/mlflow" in shown
