"""The public names stand in a stub, for type checkers, and in a table, for Python: both agree."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import sessionstore

STUB = ast.parse(Path(sessionstore.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
STUBBED = {
    alias.asname: statement.module or ""
    for statement in STUB.body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}


def test_the_stub_and_the_table_name_the_same_modules() -> None:
    table = vars(sessionstore)["_MODULE_OF"]
    assert {name: f"sessionstore.{module}" for name, module in table.items()} == STUBBED


def test_the_stub_exports_every_name_that_it_imports() -> None:
    """A name is exported by a stub only where it is imported ``as`` itself."""
    for statement in STUB.body:
        if isinstance(statement, ast.ImportFrom):
            assert [alias.name for alias in statement.names] == [
                alias.asname for alias in statement.names
            ]


@pytest.mark.parametrize("name", vars(sessionstore)["__all__"])
def test_a_public_name_is_where_the_stub_says(name: str) -> None:
    value = getattr(sessionstore, name)
    assert value is getattr(import_module(STUBBED[name]), name)
    if name != "END":  # a constant: an enum's member has no module
        assert value.__module__ == STUBBED[name]
    assert name in dir(sessionstore)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        getattr(sessionstore, "Sesion")  # noqa: B009 - a type checker would refuse it
