"""What the pages of the documentation show is what happens."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import sessionstore
from tests.support.processes import CHECKOUT
from tools.docs import commands, outside
from tools.docs.pages import Reader, blocks, matches, typed_in

DOCS = CHECKOUT / "docs"
MEASURED = DOCS / "performance.md"
"""`make bench` writes it, and its one block is that command."""

PAGES = sorted(path for path in DOCS.rglob("*.md") if path not in (MEASURED, DOCS / "tour.md"))

NOT_RUN = {
    "it asks a package registry",
    "it takes minutes",
    "it needs a container engine",
    "it needs a cluster",
    "it goes on until Ctrl-C",
}
"""The only reasons for which a block is not run."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_each_block_of_a_page_does_what_stands_there(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "home")
    for block in blocks(page):
        reader.read(block)


def test_what_is_not_run_has_a_reason_and_is_little() -> None:
    left_out = [block for page in PAGES for block in blocks(page) if block.not_run is not None]
    assert {block.not_run for block in left_out} == NOT_RUN
    assert len(left_out) <= 8
    python = [block for block in left_out if block.language == "python"]
    assert python == []


def test_every_file_that_a_page_shows_is_used_by_it() -> None:
    for page in PAGES:
        shown = blocks(page)
        for number, block in enumerate(shown):
            if block.title is not None and block.not_run is None:
                later = "".join(other.code for other in shown[number + 1 :])
                assert block.title in later or block.title.removesuffix(".py") in later, block.where


def test_the_programs_beside_other_software_make_the_same_calls() -> None:
    programs = [block for block in blocks(DOCS / "compare.md") if block.title is not None]
    made = [
        {
            one.name: ast.dump(ast.Module(one.body, []))
            for one in ast.walk(ast.parse(program.code))
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for program in programs
    ]
    assert len(made) == 5
    for name in ("plan", "draft", "send"):
        assert len({functions[name] for functions in made}) == 1, name


def test_output_on_a_page_is_compared() -> None:
    assert matches("ID  STATUS\ns1  … is gone", "ID     STATUS\ns1     pid 7 is gone\n")
    assert matches("a\n…\nd", "a\nb\nc\nd\n")
    assert not matches("ID STATUS", "ID STATUS\nmore\n")
    assert not matches("a … b", "a b c\n")
    assert list(typed_in("$ one \\\n  two\nout\n\n$ three\n")) == [
        ("one \\\n  two", "out"),
        ("three", ""),
    ]


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), (
        "run: python -m tools.docs.commands"
    )


API = (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_reference_of_python_has_every_public_name() -> None:
    shown = re.findall(r"^::: sessionstore\.(\w+)$", API, flags=re.MULTILINE)
    assert sorted(shown) == sorted(vars(sessionstore)["__all__"])
    assert [name for name in shown if getattr(sessionstore, name, None) is None] == []


@pytest.mark.parametrize("name", ["SessionStore", "Session", "AsyncSessionStore", "AsyncSession"])
def test_the_reference_has_every_public_member_in_the_order_of_use(name: str) -> None:
    section = API.partition(f"::: sessionstore.{name}\n")[2].partition("\n\n")[0]
    shown = re.findall(r"^ +- (\w+)$", section, flags=re.MULTILINE)
    kind = getattr(sessionstore, name)
    assert sorted(shown) == sorted(member for member in dir(kind) if not member.startswith("_"))
    first = ["create", "resume", "claim"] if name.endswith("Store") else ["state", "save"]
    assert shown[: len(first)] == first


def test_each_page_is_in_the_navigation_and_each_link_leads_somewhere() -> None:
    navigation = (CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    for page in [*PAGES, DOCS / "tour.md"]:
        assert f": {page.relative_to(DOCS).as_posix()}\n" in navigation
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("drawing", sorted((DOCS / "drawings").glob("*.svg")), ids=lambda p: p.name)
def test_each_drawing_is_well_formed_described_and_loads_nothing(drawing: Path) -> None:
    root = ET.fromstring(drawing.read_text(encoding="utf-8"))
    names = {child.tag.rpartition("}")[2] for child in root}
    assert {"title", "desc"} <= names
    assert list(outside.loaded_from_elsewhere(drawing.parent)) == []


def test_what_a_page_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://a.example">a link loads nothing</a>'
        '<link rel="canonical" href="https://b.example/">'
        '<script src="https://c.example/x.js"></script><link rel="stylesheet" href="//d.example/">'
        "<style>@import url(https://e.example/font.css)</style>"
    )
    (tmp_path / "style.css").write_text("@font-face { src: url(https://f.example/font) }")
    found = "".join(outside.loaded_from_elsewhere(tmp_path))
    assert re.findall(r"(\w)\.example", found) == ["c", "d", "e", "f"]


def test_each_test_that_the_durability_page_names_is_there() -> None:
    promises = (DOCS / "durability.md").read_text(encoding="utf-8").partition("## File system")[0]
    named = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", promises)
    assert len(named) > 25
    for file, test in named:
        source = (CHECKOUT / "tests" / file).read_text(encoding="utf-8")
        assert test == "" or re.search(rf"^def {test}\(", source, re.MULTILINE), f"{file}::{test}"


def test_every_docstring_names_one_exception_a_line() -> None:
    for path in sorted((CHECKOUT / "sessionstore").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                section = (ast.get_docstring(node) or "").partition("Raises:\n")[2]
                for entry in re.findall(r"^    (\S.*)", section.partition("\n\n")[0], re.MULTILINE):
                    assert re.match(r"[A-Za-z.]+: ", entry), f"{path}: {node.name}: {entry}"
