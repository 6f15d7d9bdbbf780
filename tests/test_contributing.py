"""CONTRIBUTING.md names the races and the places of the package as they are."""

from __future__ import annotations

import re

from tests.support.processes import CHECKOUT

PACKAGE = CHECKOUT / "sessionstore"
GUIDE = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return the text below a heading of the guide, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def test_every_race_has_a_title_in_the_guide_and_a_comment_in_the_package() -> None:
    titles = re.findall(r"^- \*\*(.+?)\.\*\*", section("Races worth knowing"), re.MULTILINE)
    bullets = re.findall(r"^- ", section("Races worth knowing"), re.MULTILINE)
    code = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    comments = [title for text in code for title in re.findall(r"# Race: (.+?)\.", text)]
    assert titles
    assert len(titles) == len(set(titles)) == len(bullets)
    assert set(titles) == set(comments)
    assert len(comments) == sum(text.count("# Race:") for text in code)


def test_every_path_in_the_tables_of_the_guide_exists() -> None:
    rows = re.findall(r"^\|.*\|$", section("Where to look for what"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    paths = [name for name in names if "/" in name or name.endswith(".py")]
    assert paths
    missing = [
        path for path in paths if not any(PACKAGE.glob(path.replace("<its name>", "*").rstrip("/")))
    ]
    assert not missing
