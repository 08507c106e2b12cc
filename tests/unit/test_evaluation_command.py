"""`millrace evaluate`: what it writes, what it says, and what it refuses before it begins."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from schemas.settings import Settings
from stack.cli import main
from stack.evaluation import Run, evaluate
from stack.evaluation_data import Choice, load
from stack.evaluation_page import page
from stack.evaluation_report import Alarm
from stack.generator import generate

pytestmark = pytest.mark.unit

OWN, NB = "softmax?memory_mib=1", "river:naive_bayes.MultinomialNB?alpha=0.5"
SCORES = {"accuracy", "macro_f1", "log_loss", "ece"}
VOID = {"meta", "link", "br", "hr", "img", "line", "path", "rect", "circle"}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "<b>&file.jsonl.gz"
    rows = [{"text": row.text, "label": f"<i>{row.label}", "split": "train" if n < 250 else "test"} for n, row in enumerate(generate(300))]
    with gzip.open(path, "wb") as file:
        file.write(b"\n".join(map(msgspec.json.encode, rows)))
    return path


def test_files_and_models_side_by_side(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, html = tmp_path / "out" / "report.json", tmp_path / "page.html"
    arguments = ["evaluate", str(labelled), "generated", "--events", "200", "--model", OWN, "--model", NB, "--model", OWN]
    assert main([*arguments, "--label-delay", "3", "--label-fraction", "0.9", "--report", str(report), "--html", str(html)]) == 0
    written = json.loads(report.read_text())
    assert [(entry["file"], entry["model"]) for entry in written] == [
        (str(labelled), OWN), (str(labelled), NB), ("generated", OWN), ("generated", NB),
    ]  # fmt: skip
    for entry in written:
        assert {"file", "model", "prequential", "test", "predict_per_second", "learn_per_second", "memory_mib"} <= entry.keys()
        assert entry["prequential"].keys() >= SCORES | {"ece_last_half", "ece_calibrated_p95"}
        assert all(entry[name] > 0 for name in ("predict_per_second", "learn_per_second", "memory_mib"))
        assert (entry["label_delay"], entry["label_fraction"]) == (3, 0.9)
        assert (entry["test"] is None) is (entry["file"] == "generated")
        for scores in filter(None, (entry["prequential"], entry["test"])):
            assert all(0 <= scores[name] <= 1 for name in SCORES - {"log_loss"})
            assert scores["accuracy"] > 0.2, "it has learned something"
    said = capsys.readouterr()
    assert all(f"{entry['prequential']['accuracy']:.1%}".replace("%", " %") in said.out for entry in written)
    assert said.err.count("evaluating ") == 4
    assert html.stat().st_size > 10_000


def test_the_models_of_the_setting_are_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_MODEL", NB)
    assert main(["evaluate", "generated", "--events", "30", "--report", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())[0]["model"] == NB
    monkeypatch.setenv("MILLRACE_MODEL", "")
    assert main(["evaluate", "generated"]) == 2
    assert "MILLRACE_MODEL" in capsys.readouterr().err


def test_all_that_is_wrong_is_said_before_anything_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "unlabelled.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (tmp_path / "file").touch()
    arguments = ["generated", str(tmp_path / "absent.jsonl"), str(tmp_path / "unlabelled.jsonl"), str(tmp_path / "strange.xml")]
    models = ["--model", "softmax", "--model", "svm", "--model", "river:tree.Oak?text=chars"]
    assert main(["evaluate", *arguments, *models, "--html", str(tmp_path / "file" / "page.html")]) == 2
    said = capsys.readouterr()
    for part in ("absent.jsonl: no such file", "no label is left to learn", "unknown kind of file", "no model 'svm'", "'Oak'", "'chars'"):
        assert part in said.err, part
    assert "page.html: cannot be written" in said.err
    assert "evaluating" not in said.err
    assert not said.out


@pytest.mark.parametrize("wrong", [["--label-delay", "-1"], ["--label-fraction", "0"], ["--label-fraction", "1.1"], ["--events", "0"]])
def test_arguments_out_of_range_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "generated", *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


class Page(HTMLParser):
    """What a browser would see: tags that fit each other, text, charts and their names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self_closing = (self.get_starttag_text() or "").endswith("/>")
        if tag not in VOID or (tag in {"line", "path", "rect", "circle"} and not self_closing):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run_of(name: str, model: str = OWN) -> Run:
    return evaluate(load(name, Choice(events=300), on_skip=lambda _: None), model, Settings(), label_delay=0, label_fraction=1.0)


def test_the_page_needs_nothing_else_and_every_chart_has_a_name(labelled: Path) -> None:
    html = page([run_of(str(labelled)), run_of(str(labelled), NB)])
    seen = Page(html)
    assert not seen.open
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in seen.tags}
    assert not re.search(r"https?:|url\(|@import", html)
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    charts = [attributes for tag, attributes in seen.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 1 + 2 * 2
    assert all(attributes["aria-labelledby"] in ids for attributes in charts)
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", html)


def test_names_of_files_classes_and_models_are_text_in_the_page(labelled: Path) -> None:
    html = page([run_of(str(labelled))])
    assert "<b>" not in html
    assert "<i>" not in html
    assert str(labelled) in Page(html).text
    assert "<i>billing" in Page(html).text


def test_alarms_are_marked_and_listed() -> None:
    run = run_of("generated")
    html = page([msgspec.structs.replace(run, report=msgspec.structs.replace(run.report, alarms=[Alarm(120, "errors <rise>")]))])
    assert html.count("after 120 labels: errors &lt;rise&gt;") == 2
    assert "Drift alarms" in html
    assert "Drift alarms" not in page([run])


def test_many_classes_and_one_class_have_a_page_too(tmp_path: Path) -> None:
    for name, classes in (("many", 151), ("one", 1), ("few", 3)):
        path = tmp_path / f"{name}.csv"
        rows = "".join(
            f"words {n % 13} of {n % classes // 2},class number {n % classes} with a very long name\n" for n in range(3 * classes)
        )
        path.write_text(f"text,label\n{rows}", encoding="utf-8")
        seen = Page(page([run_of(str(path))]))
        assert ("The 40 of 151 classes" in seen.text) is (classes == 151)
        assert f"{classes} classes" in seen.text
