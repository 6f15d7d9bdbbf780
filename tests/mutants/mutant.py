"""A mutant: one thing that a promise rests on, taken away."""

from __future__ import annotations

from dataclasses import dataclass

FILES = "tests/storage/test_conformance.py::TestFilesPower::"


@dataclass(frozen=True)
class Mutant:
    """One thing taken away, the promise that rests on it, the test that has to fail.

    It names the text that it replaces, exactly; where the package no longer has that text, the
    run fails, so that no mutant dies unnoticed with the code that it was made for.
    """

    name: str
    promise: int
    file: str
    replace: tuple[tuple[str, str], ...]
    test: str
