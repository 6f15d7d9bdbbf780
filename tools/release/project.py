"""What the checkout says that a release has to have."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "sessionstore"
CORE = frozenset({"filelock", "psutil", "pydantic"})
"""All that the library needs without an extra."""
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """The parts of pyproject.toml, and of the files that it names, that an artifact repeats."""

    root: Path
    version: str
    requires_python: str
    classifiers: tuple[str, ...]
    extras: tuple[str, ...]
    readme: str
    licence: bytes
    scripts: Mapping[str, str]
    required: tuple[str, ...]
    """What the library needs, and what the extra `cli` does."""

    @classmethod
    def of(cls, root: Path) -> Project:
        """Read the project of a checkout."""
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return cls(
            root=root,
            version=version_in((root / NAME / "__init__.py").read_text(encoding="utf-8")),
            requires_python=project["requires-python"],
            classifiers=tuple(project["classifiers"]),
            extras=tuple(project["optional-dependencies"]),
            readme=(root / project["readme"]).read_text(encoding="utf-8"),
            licence=(root / "LICENSE").read_bytes(),
            scripts=project["scripts"],
            required=(*project["dependencies"], *project["optional-dependencies"]["cli"]),
        )

    @property
    def oldest(self) -> tuple[str, ...]:
        """The lowest versions that the requirements allow, as constraints."""
        return tuple(one.replace(">=", "==") for one in self.required)

    @property
    def minors(self) -> tuple[str, ...]:
        """The Pythons that the classifiers name, as ``3.12``."""
        found = (
            re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one)
            for one in self.classifiers
        )
        return tuple(match[1] for match in found if match)


def version_in(source: str) -> str:
    """Return the version that ``__init__.py`` tells, empty if it tells none."""
    found = _VERSION.search(source)
    return found[1] if found else ""
