"""Whatever a test counts has a place in the tables of docs/durability.md."""

from __future__ import annotations

import re

from tests.support.processes import CHECKOUT
from tools.docs.durability_table import KINDS, MUTANTS

_COUNTED = re.compile(r"\btally\(\s*\"([^\"]+)\"")


def test_the_tables_know_every_kind_that_a_test_counts() -> None:
    texts = [file.read_text(encoding="utf-8") for file in (CHECKOUT / "tests").rglob("test_*.py")]
    counted = {kind for text in texts for kind in _COUNTED.findall(text)}
    assert len(counted) > 10
    assert counted <= {*KINDS, MUTANTS}
