"""Every mutant still fits the package: ``make mutants`` takes minutes, this takes an instant."""

from __future__ import annotations

import re

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.mutants.run_mutants import CHECKOUT, Unusable, mutated

PACKAGE = CHECKOUT / "sessionstore"


def test_every_mutant_applies_to_the_package() -> None:
    stale = []
    for mutant in MUTANTS:
        text = (PACKAGE / mutant.file).read_text(encoding="utf-8")
        try:
            assert mutated(mutant, text) != text
        except (Unusable, SyntaxError) as trouble:
            stale.append(str(trouble))
    assert not stale, "\n\n".join(stale)


def test_every_mutant_names_a_test_that_is_there() -> None:
    # What a backend's tests inherit stands in the suite that ships with the package.
    shared = [path.read_text(encoding="utf-8") for path in (PACKAGE / "testing").glob("*.py")]
    for mutant in MUTANTS:
        module, *_, test = mutant.test.partition("[")[0].split("::")
        texts = [(CHECKOUT / module).read_text(encoding="utf-8"), *shared]
        assert any(re.search(rf"\bdef {test}\(", text) for text in texts), mutant.test


@pytest.mark.parametrize(
    ("text", "new", "why"),
    [
        ("a = 1\na = 1\n", "a = 2\n", "2 times"),
        ("b = 1\n", "a = 2\n", "0 times"),
        ("a = 1\n", "a = (\n", "never closed"),
    ],
)
def test_a_mutant_that_does_not_fit_is_noticed(text: str, new: str, why: str) -> None:
    mutant = Mutant("made for this test", 1, "x.py", (("a = 1\n", new),), "tests/x.py::test_x")
    with pytest.raises((Unusable, SyntaxError), match=why):
        mutated(mutant, text)
