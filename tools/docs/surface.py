"""Keep docs/surface.txt: one line for each thing that a version promises to keep.

``python -m tools.docs.surface`` adds what is new. It takes no line out: who removes or renames what
is promised does that by hand, and follows docs/stability.md.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any

import click
from pydantic import BaseModel

import sessionstore
from sessionstore.cli.app import NAME, app
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings
from sessionstore.log import EVENTS, about
from sessionstore.model.query import Filters, SessionFilters
from sessionstore.model.state import SCHEMA_VERSION, SessionState
from sessionstore.operations.watch import Watched
from sessionstore.session.create import NewFields, NewSession
from sessionstore.storage.files.store_marker import FORMAT
from tools.docs.json_fields import json_fields
from tools.docs.reference import fields_of

CHECKOUT = Path(__file__).parents[2]
FILE = CHECKOUT / "docs" / "surface.txt"
CONSTRUCTED = (
    "AsyncSessionStore", "FilesBackend", "MemoryBackend", "RetentionPolicy", "SessionStore", "Step",
)  # fmt: skip
"""What applications make; objects of other classes are handed to them."""
BACKENDS = ("Backend", "FilesBackend", "MemoryBackend")
"""Their methods are for the store, and for those who write a backend: the suite describes them."""
_FACT = re.compile(r"self\.([a-z]\w*): ")
_KEYWORDS: dict[str, type] = {
    kind.__name__: kind for kind in (Filters, NewFields, NewSession, SessionFilters, Watched)
}
"""By their names, as they stand in ``**filters: Unpack[Filters]``."""
_UNPACKED = re.compile(r"Unpack\[(\w+)\]")
_SCHEMA = re.compile(r'"(sessionstore\.[a-z_.]+/\d+)"')


_VARIABLE = re.compile(r'"(SESSIONSTORE_[A-Z]+)"')


def surface() -> set[str]:
    """Return what this version has, a line for each thing."""
    return {*_python(), *_testing(), *_commands(), *_machine_formats(), *_log(), *_stored()}


def _python() -> Iterator[str]:
    for name in vars(sessionstore)["__all__"]:
        yield f"python {name}"
        value = getattr(sessionstore, name)
        if isinstance(value, type):
            yield from (f"python {name}{one}" for one in _members(value))
        elif isinstance(value, FunctionType):
            yield from (f"python {name}{one}" for one in _parameters(value))


def _members(kind: type) -> Iterator[str]:
    if issubclass(kind, Enum):
        yield from (f".{member.name}={member.value}" for member in kind)
        return
    if kind.__name__ in CONSTRUCTED:
        yield from _parameters(kind)
    if kind.__name__ in BACKENDS:
        return
    yield from (f".{field}" for field in fields_of(kind))
    if issubclass(kind, BaseException):
        bases = kind.__mro__[: kind.__mro__.index(Exception)]
        yield from (f" is {base.__name__}" for base in bases if base.__module__ == "builtins")
        yield from (f".{name}" for name in _FACT.findall(inspect.getsource(kind)))
    for name, value in inspect.getmembers(kind):
        if name.startswith("_") or not _is_ours(kind, name):
            continue
        yield f".{name}"
        if callable(value):
            yield from (f".{name}{one}" for one in _parameters(value))


def _is_ours(kind: type, name: str) -> bool:
    """Return whether a member comes from this package, and not from a base in another one."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return owner.__module__.startswith(f"{NAME}.")


def _parameters(function: Any) -> Iterator[str]:
    """Yield each parameter: ``(goal)``, ``(goal=)`` with a default, ``(*, goal)`` by name only."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if unpacked := _UNPACKED.fullmatch(str(parameter.annotation)):
            yield from (f"(*, {name}=)" for name in _KEYWORDS[unpacked[1]].__annotations__)
            continue
        by_name = "*, " if parameter.kind is parameter.KEYWORD_ONLY else ""
        default = "=" if parameter.default is not parameter.empty else ""
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        yield f"({by_name}{stars}{parameter.name}{default})"


def _testing() -> Iterator[str]:
    import sessionstore.testing

    for name in sessionstore.testing.__all__:
        yield f"testing {name}"


def _commands() -> Iterator[str]:
    context = click.Context(app, info_name=NAME, obj=Settings())
    shared = {parameter.name for parameter in app.params}
    commands = {"": app, **{name: app.get_command(context, name) for name in COMMANDS}}
    for name, command in commands.items():
        assert command is not None
        if name:
            yield f"command {name}"
        for parameter in command.params:
            if name and parameter.name in shared:
                continue  # each command has it
            if isinstance(parameter, click.Argument):
                yield f"command {name} {parameter.human_readable_name}"
                continue
            for option in (*parameter.opts, *parameter.secondary_opts):
                yield f"option {name} {option}".replace("  ", " ")
            if isinstance(parameter.type, click.Choice):
                option = max(parameter.opts, key=len)
                yield from (
                    f"option {name} {option} {choice}".replace("  ", " ")
                    for choice in parameter.type.choices
                )
    for code in Exit:
        yield f"exit {code.value} {code.name.lower()}"


def _machine_formats() -> Iterator[str]:
    for path in (CHECKOUT / NAME).rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        yield from (f"schema {name}" for name in _SCHEMA.findall(source))
        yield from (f"variable {name}" for name in _VARIABLE.findall(source))
    yield from (f"json {field}" for field in json_fields())


def _log() -> Iterator[str]:
    yield from (f"event {name}" for name in EVENTS)
    yield from (f"attribute {name}" for name in about("any"))


def _stored() -> Iterator[str]:
    yield f"format {FORMAT}"
    yield f"schema_version {SCHEMA_VERSION}"
    yield from (f"field {name}" for name in _fields(SessionState))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + name
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _fields(kind, f"{prefix}{name}.")


def promised() -> set[str]:
    """Return what the file lists."""
    return set(FILE.read_text(encoding="utf-8").splitlines()) if FILE.exists() else set()


def main() -> int:
    """Add what is new; name what is promised and missing, and exit with 1 then."""
    now, before = surface(), promised()
    FILE.write_text("".join(f"{line}\n" for line in sorted(now | before)), encoding="utf-8")
    for line in sorted(before - now):
        print(f"docs/surface.txt promises what is not there: {line}", file=sys.stderr)
    return 1 if before - now else 0


if __name__ == "__main__":
    sys.exit(main())
