"""Find one Python of each minor version. One that cannot be had has the reason."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.release.children import Children

MINORS = ("3.11", "3.12", "3.13", "3.14")
_ASK = "import platform, ssl, venv; print(platform.python_version())"
_ADDRESS = re.compile(r"\s*\(?https?://[^\s)]+\)?")


class Python(NamedTuple):
    """A Python, or why there is none."""

    minor: str
    executable: str | None
    version: str = ""
    absent: str = ""
    """The reason, for a person; empty if there is one."""


def find(minor: str, children: Children, place: Path) -> Python:
    """Return the first Python of a minor version that works.

    It is looked for in the PATH and among the versions of pyenv. Otherwise uv installs one below
    ``place``, if it can.
    """
    for executable in _installed(minor):
        if found := _working(minor, executable, children):
            return found
    reason = _install(minor, children, place)
    for executable in sorted(map(str, place.glob(f"*/bin/python{minor}"))):
        if found := _working(minor, executable, children):
            return found
    return Python(minor, None, absent=f"not installed here; {reason}")


def _installed(minor: str) -> Iterator[str]:
    for directory in os.get_exec_path():
        if found := shutil.which(f"python{minor}", path=directory):
            yield found
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    yield from map(str, sorted(versions.glob(f"{minor}.*/bin/python{minor}"), key=_age))


def _age(path: Path) -> tuple[int, ...]:
    """Return what sorts the newest patch first."""
    return tuple(-int(number) for number in re.findall(r"\d+", path.parents[1].name))


def _working(minor: str, executable: str, children: Children) -> Python | None:
    done = children.run([executable, "-I", "-c", _ASK])
    version = done.output.strip()
    if done.code != 0 or not version.startswith(f"{minor}."):
        return None  # a shim of pyenv for a version that is not chosen, say
    return Python(minor, executable, version)


def _install(minor: str, children: Children, place: Path) -> str:
    """Have uv install a Python; return why it cannot, or nothing."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        return "there is no uv to install it"
    asked = [uv, "python", "install", "--no-bin", "--install-dir", str(place), minor]
    done = children.run(asked)
    if done.code == 0:
        return "the one that uv installed does not work"
    return f"uv: {reason_in(done.said)}"


def reason_in(said: str) -> str:
    """Return the last cause that uv tells, on one line and without addresses."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "it failed and told no reason"
    return _ADDRESS.sub("", re.sub(r"^(Caused by|cause|error): ", "", last))
