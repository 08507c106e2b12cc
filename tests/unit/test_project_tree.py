"""The conventions of the tree that no linter knows."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOP_LEVEL = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"benchmarks", "tests"})
MARKERS = {marker.partition(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
NOT_OURS = {".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", "__pycache__", "build"}


def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def files(folder: Path = ROOT) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in NOT_OURS and not path.name.endswith(".egg-info"):
            yield from files(path)
        elif path.is_file() and path.suffix not in {".gz", ".png", ".safetensors"}:
            yield path


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_every_test_file_has_the_marker_of_what_it_starts(path: Path) -> None:
    marks = {
        node.attr
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
        for node in ast.walk(statement.value)
        if isinstance(node, ast.Attribute)
    }
    folder = path.relative_to(ROOT / "tests").parts[0]
    assert folder in MARKERS | {"contract"}, "a folder of tests is named for what its tests start"
    assert marks & ({folder} if folder in MARKERS else MARKERS), "set pytestmark"


def test_every_package_is_under_the_import_contracts_and_is_installed() -> None:
    rules = PROJECT["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in rules["contracts"] if contract["type"] == "layers"]
    assert sorted(rules["root_packages"]) == TOP_LEVEL
    assert sorted(name for layer in layers for name in layer.split(" | ")) == TOP_LEVEL
    assert {f"{name}*" for name in TOP_LEVEL} <= set(PROJECT["tool"]["setuptools"]["packages"]["find"]["include"])
    assert set(TOP_LEVEL) <= set(re.search(r"^PACKAGES := (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)[1].split())  # type: ignore[index]  # a Makefile without it must fail here


CLOCK_AND_IO = {
    "asyncio",
    "datetime",
    "io",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
WRITES_FILES = {
    "schemas/json_schema.py",  # The generator of the documentation; nothing imports it but tests.
    "online_model/tensors.py",  # Puts bytes together in memory, with io.BytesIO: nothing else gives bytes without copying them at once.
    "online_model/compiled.py",  # Reads its own package, so that machine code is never older than its source.
}


@pytest.mark.parametrize("path", modules("schemas", "online_model"), ids=relative)
def test_schemas_and_online_model_have_no_clock_and_no_io(path: Path) -> None:
    if relative(path) not in WRITES_FILES:
        assert not {name.partition(".")[0] for name in imports(path)} & CLOCK_AND_IO
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)}
    assert not calls & {"open", "input", "np.random.seed", "np.random.default_rng"}


@pytest.mark.parametrize("path", modules(*TOP_LEVEL), ids=relative)
def test_a_module_has_one_subject_and_fits_on_a_few_screens(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300


EXCEPTION = re.compile(r"# (?:noqa|type: ignore|pragma).*")
NAMED = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|type: ignore\[[a-z, -]+\])(?P<why> +[#(–-] ?.{8,})?")


@pytest.mark.parametrize("path", modules(*TOP_LEVEL, "benchmarks", "tests"), ids=relative)
def test_every_exception_from_a_rule_names_the_rule_and_says_why_beside_it_or_above(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        for comment in EXCEPTION.findall(line):
            said = NAMED.fullmatch(comment)
            assert said, f"{relative(path)}:{number + 1}: `{comment}` does not name its rule"
            above = lines[number - 1].strip()
            assert said["why"] or above.startswith("# "), f"{relative(path)}:{number + 1}: `{comment}` does not say why"


def test_every_rule_that_is_switched_off_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    for line in section[section.index("ignore = [") :].splitlines():
        if re.match(r' +"', line):
            assert re.search(r'^ +"[A-Z]+\d*", +# .{8,}', line), line


# Written so that this file does not find itself.
FORBIDDEN = [
    re.compile(pattern)
    for pattern in (r"/wor[k]/", r"/tmp/[w]/", r"/roo[t]/", r"pypi\.or[g]", r"pythonhosted\.or[g]", r"repo1?\.maven\.or[g]")
]


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    found = []
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{relative(path)}: {match[0]}" for pattern in FORBIDDEN for match in pattern.finditer(text)]
    assert found == []
