"""The files of the dashboard: how they are sent, and what must not be in them."""

from __future__ import annotations

import asyncio
import gzip
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api import problems
from api.dashboard import routes
from api.dashboard.files import page, plotly_path, plotly_version

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "api" / "dashboard" / "page"
SCRIPTS = sorted(FOLDER.rglob("*.js"))
OURS = sorted(path for path in FOLDER.rglob("*") if path.is_file())


class Client:
    """Asks the routes of the page, without a server."""

    def __init__(self) -> None:
        self.app = FastAPI()
        problems.install(self.app)
        self.app.include_router(routes.router)

    def get(self, path: str, *, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://page") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client() -> Client:
    return Client()


def name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_the_page_names_the_version_of_its_files_and_is_asked_for_again_each_time(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert f"assets/{page().version}/js/main.js" in answer.text
    assert "{assets}" not in answer.text
    assert "{plotly}" not in answer.text
    again = client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", method="HEAD").headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize("path", OURS, ids=name)
def test_every_file_is_sent_compressed_and_may_be_kept_under_its_version_only(client: Client, path: Path) -> None:
    if name(path) == "index.html":
        assert client.get(f"/assets/{page().version}/index.html").status_code == 404
        return
    answer = client.get(f"/assets/{page().version}/{name(path)}")
    assert (answer.status_code, answer.content, answer.headers["content-encoding"]) == (200, path.read_bytes(), "gzip")
    assert "immutable" in answer.headers["cache-control"]
    plain = client.get(f"/assets/older/{name(path)}", headers={"Accept-Encoding": "identity"})
    assert (plain.content, plain.headers["cache-control"]) == (path.read_bytes(), "no-cache")
    assert "content-encoding" not in plain.headers
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_the_script_of_the_charts_comes_from_its_package(client: Client) -> None:
    script = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    answer = client.get("/" + plotly_path())
    assert answer.content == script
    assert "immutable" in answer.headers["cache-control"]
    assert int(answer.headers["content-length"]) == len(gzip.compress(script, 6, mtime=0)) < len(script) / 3
    assert client.get("/" + plotly_path(), headers={"If-None-Match": f'W/{answer.headers["etag"]}, "x"'}).status_code == 304
    assert plotly_version() in plotly_path()
    assert client.get("/assets/plotly-0/plotly.min.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["nothing.js", "%2e%2e/files.py", "..%2ffiles.py", "js/", ""])
def test_what_is_no_file_of_the_page_is_a_problem(client: Client, path: str) -> None:
    answer = client.get(f"/assets/{page().version}/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_page_may_run_nothing_but_its_own_files(client: Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", html)


@pytest.mark.parametrize("path", OURS, ids=name)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", text)) <= {"http://www.w3.org/2000/svg"}


MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|\beval\b|new Function"
)


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_makes_no_markup_of_texts_and_is_one_subject(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not MARKUP.search(text)
    assert text.startswith("// "), "it says what it is about"
    assert len(text.splitlines()) < 250
    assert all(len(line) <= 240 for line in text.splitlines())
    for imported in re.findall(r'from "([^"]+)"', text):
        assert (path.parent / imported).is_file(), f"{name(path)} imports {imported}"


def test_scripts_use_what_they_import_and_ids_that_the_page_has() -> None:
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r'(?:byId|new Panel)\("([^"]+)"\)', text)) <= set(ids), name(path)
        for names, source in re.findall(r'^import \{ ([^}]+) \} from "([^"]+)"', text, flags=re.MULTILINE):
            exported = (path.parent / source).read_text(encoding="utf-8")
            for imported in names.split(", "):
                assert re.search(rf"^export (?:async )?(?:function|const|let|class) {imported}\b", exported, flags=re.MULTILINE), (
                    f"{name(path)}: {source} has no {imported}"
                )
                assert len(re.findall(rf"\b{imported}\b", text)) > 1, f"{name(path)} does not use {imported}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("css/*.css")), ids=name)
def test_colours_are_named_in_one_place(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    if path.name == "tokens.css":
        themed = re.findall(r"^\s*--[\w-]+: (?:light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\));", text, flags=re.MULTILINE)
        assert len(themed) > 20, "every colour has two faces"
    else:
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", text), "a colour that no theme knows"


def test_the_page_is_part_of_the_package() -> None:
    # As the build finds them; asked in a program of its own, since setuptools has no types.
    code = "import setuptools; print(*setuptools.find_namespace_packages(include=['api*']))"
    packages = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split())
    assert {"api.dashboard." + ".".join(path.parent.relative_to(FOLDER.parent).parts) for path in OURS} <= packages
