"""Install an artifact into a clean environment, and use it there as its users do.

``python -m tools.release.trial JSON`` tries what an :class:`Asked` says, and writes what came of
each column: an empty text if it went well, else what went wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.docs.pages import CHECKOUT, Reader, blocks

TESTS = (
    "tests/model",
    "tests/session/test_step_result.py",
    "tests/storage/test_conformance.py::TestFilesPower",
    "tests/storage/test_conformance.py::TestMemory",
    "tests/store/test_docstring_examples.py",
)
"""What is run of the sdist: the model, and both backends by the suite that ships."""
ADVICE = "sessionstore: the command line needs click and rich: pip install 'sessionstore[cli]'\n"

_INSTALLED = """
import re
from importlib.metadata import distribution, distributions
def plain(name):
    return re.sub("[-_.]+", "-", name).lower()
installed = {plain(one.name) for one in distributions()}
needed, left = set(), {"sessionstore"}
while left:
    needed |= left
    required = [text for name in left for text in distribution(name).requires or ()]
    named = {plain(re.split(r"[^\\w.-]", one)[0]) for one in required if "extra ==" not in one}
    left = (named & installed) - needed
print(*sorted(installed))
print(*sorted(needed))
"""
"""Prints what is installed, and what of it sessionstore needs without an extra."""
_IMPORT = "import sessionstore as s; print(*(getattr(s, name) is None for name in s.__all__))"
_VERSIONS = """
import sessionstore
from importlib.metadata import version
print(version("sessionstore"), sessionstore.__version__)
"""


class Failed(Exception):
    """A trial did not go as it should; the text tells what happened instead."""


@dataclass(frozen=True)
class Asked:
    """What to try."""

    python: str
    artifact: str
    version: str
    extra: str
    """Empty for none."""
    place: str
    """A directory that is made for this."""
    source: str
    """The unpacked sdist, whose tests are run; empty for none."""
    pins: str
    """A file of constraints; empty for the newest of everything, as users get it."""

    def dumps(self) -> str:
        """Return it as an argument of a command."""
        return json.dumps(asdict(self))


class Environment:
    """A new virtual environment, and commands that run in it."""

    def __init__(self, asked: Asked) -> None:
        self.place = Path(asked.place)
        self.python = str(self.place / "venv" / "bin" / "python")
        self.module = [self.python, "-m", "sessionstore"]
        self.command = [str(self.place / "venv" / "bin" / "sessionstore")]
        self._inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SESSIONSTORE_", "PYTHON"))
        }

    def do(self, command: list[str], **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command at a place that has no package to be imported by accident."""
        environment = {**self._inherited, "PYTHONWARNINGS": "error", **changes}
        return subprocess.run(
            command,
            cwd=self.place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, command: list[str], **changes: str) -> str:
        """Run a command that has to end with 0; return what it wrote to stdout."""
        done = self.do(command, **changes)
        if done.returncode != 0:
            raise Failed(f"{command} exits with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout


def install(asked: Asked, there: Environment) -> None:
    """Make the environment, without pip in it, and install the artifact from outside."""
    there.place.mkdir(parents=True)
    venv = [asked.python, "-m", "venv", "--without-pip", "venv"]
    there.run(venv, PYTHONWARNINGS="default")
    pip = [sys.executable, "-m", "pip", "--python", there.python, "--quiet"]
    pip += ["--disable-pip-version-check", "install"]
    pip += [f"{asked.artifact}[{asked.extra}]" if asked.extra else asked.artifact]
    if asked.pins:
        pip += ["-c", asked.pins]
    there.run(pip, PYTHONWARNINGS="default")


def has_command(there: Environment) -> bool:
    """Return whether click and rich are there, for whichever extra they were installed."""
    installed = there.run([there.python, "-c", _INSTALLED]).splitlines()[0].split()
    return {"click", "rich"} <= set(installed)


def import_(asked: Asked, there: Environment) -> None:
    """Load every public name. Without an extra nothing is there but what the core needs."""
    there.run([there.python, "-c", _IMPORT])
    installed, needed = there.run([there.python, "-c", _INSTALLED]).splitlines()
    if not asked.extra and installed != needed:
        raise Failed(f"installed: {installed}; needed: {needed}")


def quickstart(_: Asked, there: Environment) -> None:
    """Do what README.md shows: all of it with the command, else the quickstart."""
    page = CHECKOUT / "README.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.split("\n## Quickstart\n", 1)
    first = before.count("\n") + 2
    last = first + after.partition("\n## ")[0].count("\n") + 1
    is_whole = has_command(there)
    reader = Reader(there.place / "home", there.python, package=None)
    for block in blocks(page):
        if is_whole or first < block.line <= last:
            reader.read(block)


def doctor(_: Asked, there: Environment) -> None:
    """Have the command test a directory; without its extra it says what to install."""
    (there.place / "store").mkdir()
    arguments = ["--root", "store", "doctor", "-o", "json"]
    if has_command(there):
        found = json.loads(there.run([*there.command, *arguments]))["diagnoses"]
        failed = [one for one in found if one["fitness"] == "fail"]
        if failed or not found:
            raise Failed(f"doctor finds {failed}")
        return
    for command in (there.command, there.module):
        done = there.do([*command, *arguments])
        if (done.returncode, done.stdout, done.stderr) != (2, "", ADVICE):
            raise Failed(f"{command} exits with {done.returncode}:\n{done.stdout}{done.stderr}")


def versions(asked: Asked, there: Environment) -> None:
    """Compare all places that tell the version."""
    told = there.run([there.python, "-c", _VERSIONS]).split()
    if has_command(there):
        for command in (there.command, there.module):
            said = there.run([*command, "--version"])
            told.append(said.removeprefix("sessionstore, version ").removesuffix("\n"))
    if set(told) != {asked.version}:
        raise Failed(f"told: {told}; built: {asked.version}")


def tests(asked: Asked, there: Environment) -> None:
    """Run tests of the unpacked sdist, which has all that they need."""
    paths = [str(Path(asked.source) / test) for test in TESTS]
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", asked.source]
    options += ["--basetemp", str(there.place / "tests")]
    configuration = ["-c", str(Path(asked.source) / "pyproject.toml")]
    pytest = [there.python, "-m", "pytest", *options, *configuration, *paths]
    there.run(pytest, PYTHONWARNINGS="default", PYTHONDONTWRITEBYTECODE="1")


TRIALS: dict[str, Callable[[Asked, Environment], None]] = {
    "install": install,
    "import": import_,
    "quickstart": quickstart,
    "doctor": doctor,
    "versions": versions,
    "tests": tests,
}
"""The columns of the table."""


def tried(asked: Asked) -> dict[str, str]:
    """Return what came of each trial; one that was not made is left out."""
    there = Environment(asked)
    found: dict[str, str] = {}
    for column, trial in TRIALS.items():
        if column == "tests" and not asked.source:
            continue
        try:
            trial(asked, there)
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
            found[column] = str(error) or repr(error)
            if column == "install":
                break
        else:
            found[column] = ""
    return found


if __name__ == "__main__":
    print(json.dumps(tried(Asked(**json.loads(sys.argv[1])))))
