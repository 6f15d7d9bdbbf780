"""Find public names, and fields of public classes, that the built reference does not show.

``python -m tools.docs.reference build/site`` exits with 1 if there is any.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import sessionstore


def fields_of(kind: type) -> list[str]:
    """Return the fields of a dataclass, a model or an enum, and public properties of any class."""
    if issubclass(kind, Enum):
        return list(kind.__members__)
    names = [name for name, value in inspect.getmembers(kind) if isinstance(value, property)]
    if dataclasses.is_dataclass(kind):
        names += [field.name for field in dataclasses.fields(kind)]
    names += getattr(kind, "__pydantic_fields__", {})
    return [name for name in names if not name.startswith("_") and name not in _OF_PYDANTIC]


_OF_PYDANTIC = {"model_extra", "model_fields_set"}


def missing(site: Path) -> Iterator[str]:
    """Yield each public name and field that has no entry on the page."""
    page = (site / "api.html").read_text(encoding="utf-8")
    shown = set(re.findall(r'id="sessionstore\.([\w.]+)"', page))
    for name in sessionstore.__all__:
        value = getattr(sessionstore, name)
        if name not in shown:
            yield name
        if isinstance(value, type):
            bases = [base.__name__ for base in value.__mro__]  # a base may show it for all
            for field in fields_of(value):
                if not any(f"{base}.{field}" in shown for base in bases):
                    yield f"{name}.{field}"


def main() -> int:
    """Name what the page of the site that is given does not show."""
    found = sorted(missing(Path(sys.argv[1])))
    for name in found:
        print(f"the reference does not show sessionstore.{name}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
