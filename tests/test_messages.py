"""What the package says to people: the rules of its prose, checked in every text of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sessionstore

PACKAGE = Path(sessionstore.__file__).parent

RIDDLES = {
    "a text names sessionstore, not us": r"\bours?\b|\bus\b",
    "a text says that something is not a label, not that it is no label":
        r"\b(?<!there )(is|are) no\b(?! longer)",
    "a text says this process, as every other text does": r"\bvery process\b",
}  # fmt: skip


def texts() -> Iterator[tuple[str, str]]:
    """Yield each text of the package that is not a docstring, and where it is."""
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {
            id(node.value.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and id(value) not in docstrings and " " in value.strip():
                yield f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}", value


@pytest.mark.parametrize("rule", RIDDLES)
def test_no_text_of_the_package_is_a_riddle(rule: str) -> None:
    found = list(texts())
    assert len(found) > 1000
    assert [one for one in found if re.search(RIDDLES[rule], one[1], re.IGNORECASE)] == []
