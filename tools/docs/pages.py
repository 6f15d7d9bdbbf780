"""Run the code blocks of a page of the documentation, in their order, as a reader would.

Every page has a directory of its own, which is also the home. What a block does stays for those
after it: files, and what a shell exported. A block is

- ``python``: run in a process of its own. With a title it is saved under that name instead, for
  the blocks after it.
- ``console``: each line that begins with ``$`` is run by ``sh``, and what stands below it is what
  it prints; ``…`` stands for anything within a line, or for any lines. It ends with 0 unless a
  comment says ``# exits with 4``.
- ``crontab``: each command is run once.
- ``json``: read.
- ``text``: shown, no code.

``<!-- not run: reason -->`` in front of a block keeps it from being run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
_LONGEST = 300.0
"""Seconds after which a block that does not end is given up. A busy machine may need minutes."""

_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^>]+) -->\n+)?"
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)(?P<options>[^\n]*)\n"
    r"(?P<code>.*?)^(?P=indent)(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([\w.-]+)"')
_CODE_OF = re.compile(r"#\s*exits with (\d+)")
_MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: str
    line: int
    language: str
    title: str | None
    code: str
    not_run: str | None
    """Why it is not run, or None."""

    @property
    def where(self) -> str:
        """The file and the line, as an editor takes them."""
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        title = _TITLE.search(match["options"])
        found.append(
            Block(
                str(path.relative_to(CHECKOUT)),
                text.count("\n", 0, match.start("fence")) + 1,
                match["language"],
                title[1] if title else None,
                textwrap.dedent(match["code"]),
                match["reason"],
            )
        )
    return found


class Reader:
    """Somebody who types in what a page shows.

    Args:
        home: is made; the home directory of what runs.
        python: runs the blocks. The programs beside it come first in the PATH.
        package: the directory that has the package; None if that Python has it installed.
    """

    def __init__(
        self, home: Path, python: str = sys.executable, package: Path | None = CHECKOUT
    ) -> None:
        self._home = home
        self._python = python
        self._exported = home.parent / f"{home.name}-exported"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SESSIONSTORE_", "PYTEST_", "PYTHON"))
        }
        self._environment = {
            **inherited,
            "HOME": str(home),
            "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
            "PYTHONWARNINGS": "error",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",  # stdout and stderr in their order, as on a terminal
        }
        if package is not None:
            self._environment["PYTHONPATH"] = str(package)
        home.mkdir()

    def read(self, block: Block) -> None:
        """Do what the block shows; fail unless it happens as it stands there."""
        if block.not_run is not None or block.language == "text":
            return
        if block.title is not None:
            (self._home / block.title).write_text(block.code, encoding="utf-8")
            return
        match block.language:
            case "python":
                done = self._run([self._python, "-c", block.code])
                assert (done.returncode, done.stdout) == (0, ""), f"{block.where}\n{done.stdout}"
            case "json":
                json.loads(block.code)
            case "console":
                self._type(block)
            case "crontab":
                for command in commands_of_crontab(block.code):
                    done = self._run(["sh", "-c", command])
                    assert done.returncode == 0, f"{block.where}: {command}\n{done.stdout}"
            case other:
                raise AssertionError(f"{block.where}: nobody knows how to run {other!r}")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_LONGEST,
        )

    def _type(self, block: Block) -> None:
        typed = list(typed_in(block.code))
        assert typed, f"{block.where}: no line begins with $"
        script = [f". '{self._exported}'" if self._exported.exists() else ":"]
        for command, _ in typed:
            script += [command, f"printf '{_MARK}%s{_MARK}' $?"]
        script.append(f"export -p > '{self._exported}'")
        done = self._run(["sh", "-c", "\n".join(script)])
        assert done.returncode == 0, f"{block.where}\n{done.stdout}"
        pieces = done.stdout.split(_MARK)
        for (command, expected), printed, code in zip(
            typed, pieces[0::2], pieces[1::2], strict=False
        ):
            wanted = _CODE_OF.search(command)
            told = f"{block.where}: {command}\n{printed}"
            assert code == (wanted[1] if wanted else "0"), f"exit code {code}: {told}"
            if expected:
                assert matches(expected, printed), f"{told}\nis not what stands there:\n{expected}"


def typed_in(code: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block, and what stands below it."""
    for piece in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        lines = piece.splitlines()
        taken = 1
        while lines[taken - 1].endswith("\\"):
            taken += 1
        yield "\n".join(lines[:taken]), "\n".join(lines[taken:]).strip("\n")


def commands_of_crontab(code: str) -> list[str]:
    """Return the commands of a crontab, each with the variables that stand above it."""
    variables, found = "", []
    for line in code.splitlines():
        if re.match(r"\w+=", line):
            variables += f"{line}; export {line.partition('=')[0]}; "
        elif line.strip() and not line.startswith("#"):
            found.append(variables + line.split(maxsplit=5)[5])
    return found


def matches(expected: str, printed: str) -> bool:
    """Return whether ``printed`` is what the page shows; runs of spaces count as one."""
    pattern = ""
    for line in expected.splitlines():
        if line.strip() == "…":
            pattern += r"(?:[^\n]*\n)*"
        else:
            parts = [re.escape(" ".join(part.split(" "))) for part in _squeeze(line).split("…")]
            pattern += "[^\n]*".join(parts) + "\n"
    shown = "".join(f"{_squeeze(line)}\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, shown) is not None


def _squeeze(line: str) -> str:
    return re.sub(r"\s+", " ", line).rstrip()
