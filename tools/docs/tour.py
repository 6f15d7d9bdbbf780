"""Go through the commands in a real terminal, and write what it shows into docs/tour.md.

``python -m tools.docs.tour`` types each command into tmux: 80 and 140 columns wide, with colours
and without. What differs from run to run is replaced: ids, process ids, the host. The clock is set
with faketime, so that times are the same each time, and a month passes when it should.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.docs import crowd
from tools.docs.tour_steps import NIGHT, STEPS, Step

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "tour.md"
NEEDS = ("tmux", "faketime")
WIDTHS = (80, 140)
PROGRAMS = {"agent.py": "index.md", "answer.py": "how-to/steps.md"}
"""What is run, and the page that shows it."""

_HEIGHT = 200
_SHOWN, _SHOWN_LAST = 24, 8
"""How many lines of a long output the page shows, at its beginning and at its end."""
_PATIENCE = 300.0


@dataclass(frozen=True)
class Shown:
    """What a terminal showed after a step: lines with their escape sequences."""

    step: Step
    lines: list[str]
    code: int

    @property
    def text(self) -> str:
        """The same without colours."""
        return "\n".join(_plain(line).rstrip() for line in self.lines)


# --- the terminal -------------------------------------------------------------------------------


class Terminal:
    """A terminal of tmux that runs one command after the other, on an empty screen each."""

    def __init__(self, width: int, home: Path, environment: dict[str, str]) -> None:
        """Open it, with nothing of this process' environment but what is given."""
        self._environment = {**environment, "TMUX_TMPDIR": str(home)}
        self._home = home
        size = ("-x", str(width), "-y", str(_HEIGHT))
        self._tmux("new-session", "-d", *size, "-c", str(home), "sleep 3600")
        self._tmux("set-option", "-w", "remain-on-exit", "on")
        self._tmux("set-option", "-w", "remain-on-exit-format", "")

    def run(self, step: Step) -> tuple[list[str], int]:
        """Type a command; return the lines on the screen, and its exit code, once it ended."""
        ended = self._home / "ended"
        ended.unlink(missing_ok=True)
        # Not tmux's pane_dead_status, which now and then stays empty.
        typed = f"{step.command}\necho $? > '{ended}.new' && mv '{ended}.new' '{ended}'"
        words = ["faketime", "-f", step.moment, "sh", "-c", typed]
        self._tmux("respawn-pane", "-k", "-c", str(self._home), *words)
        give_up = time.monotonic() + _PATIENCE
        while not ended.exists() or self._told("#{pane_dead}") != "1":
            if time.monotonic() > give_up:
                raise TimeoutError(f"it goes on and on: {step.command}")
            time.sleep(0.02)
        # -J: a line that the terminal had to break is one line; it is broken again at the end.
        screen = self._tmux("capture-pane", "-p", "-e", "-J")
        lines = [line.rstrip() for line in screen.splitlines()]
        while lines and not _plain(lines[-1]).strip():
            lines.pop()
        return lines, int(ended.read_text())

    def close(self) -> None:
        """End it, and whatever runs in it."""
        self._tmux("kill-server")

    def _told(self, what: str) -> str:
        return self._tmux("display-message", "-p", what).strip()

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-f", os.devnull, *words]
        return subprocess.run(
            command, env=self._environment, check=True, capture_output=True, encoding="utf-8"
        ).stdout


@contextmanager
def _terminal(width: int, colored: bool, home: Path) -> Iterator[Terminal]:
    environment = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "SESSIONSTORE_ROOT": str(home / ".my-agent"),
        "SHELL": "/bin/sh",
        "TERM": "screen-256color",
        "TZ": "UTC",
        **({} if colored else {"NO_COLOR": "1"}),
    }
    terminal = Terminal(width, home, environment)
    try:
        yield terminal
    finally:
        terminal.close()


def tour(width: int, *, colored: bool) -> list[Shown]:
    """Go through all steps; return what was shown, made the same for each run."""
    # Short: the path of tmux's socket must fit into 100 bytes.
    with tempfile.TemporaryDirectory(prefix="tour-") as directory:
        home = Path(directory)
        for name, page in PROGRAMS.items():
            (home / name).write_text(program(name, page), encoding="utf-8")
        worker = shutil.copy(crowd.__file__, home / "worker.py")
        same = Sameness(home)
        shown = []
        with (
            crowd.crowd(home / "fleet", NIGHT, worker),
            _terminal(width, colored, home) as terminal,
        ):
            for step in STEPS:
                lines, code = terminal.run(step)
                lines = [part for line in lines for part in _broken(same.of(line), width)]
                shown.append(Shown(step, lines, code))
        return shown


def program(name: str, page: str) -> str:
    """Return a program that a page shows."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text.partition(f'```python title="{name}"\n')[2].partition("```")[0]


# --- what differs from run to run ---------------------------------------------------------------


class Sameness:
    """Replaces what is different in each run by something of the same kind and length."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)
        self._names: dict[str, str] = {}
        self._host = re.escape(os.uname().nodename)

    def of(self, line: str) -> str:
        """Return the line as it is in every run."""
        line = re.sub(r"(?<=\d{8}_\d{6}_)[0-9a-f]{8}", self._named, line)
        line = re.sub(r"(?<=\bpid )\d+", "4711", line)
        line = re.sub(rf"(?<=\) on ){self._host}(?= since)", "web1", line)
        return line.replace(self._home, "/home/me")

    def _named(self, found: re.Match[str]) -> str:
        return self._names.setdefault(found[0], f"{len(self._names) + 1:08x}")


# --- lines with colours -------------------------------------------------------------------------

_SGR = re.compile(r"\x1b\[([\d;]*)m")
_PIECE = re.compile(r"(\x1b\[[\d;]*m)|(.)")


def _plain(line: str) -> str:
    return _SGR.sub("", line)


def _broken(line: str, width: int) -> Iterator[str]:
    """Break a line where the terminal does; escape sequences take no room."""
    taken, part = 0, ""
    for sequence, char in _PIECE.findall(line):
        if char and taken == width:
            yield part
            taken, part = 0, ""
        part += sequence or char
        taken += bool(char)
    yield part


def as_html(lines: list[str]) -> str:
    """Return the lines with their colours, as HTML."""
    classes: set[str] = set()
    page = ""
    for number, line in enumerate(lines):
        page += "\n" if number else ""
        place = 0
        for found in _SGR.finditer(line):
            page += _span(line[place : found.start()], classes)
            _switch(classes, found[1])
            place = found.end()
        page += _span(line[place:], classes)
    return page


def _span(text: str, classes: set[str]) -> str:
    if not text or not classes:
        return html.escape(text)
    return f'<span class="{" ".join(sorted(classes))}">{html.escape(text)}</span>'


def _switch(classes: set[str], codes: str) -> None:
    for code in map(int, (codes or "0").split(";")):
        if code == 0:
            classes.clear()
        elif code == 1:
            classes.add("bold")
        elif code == 2:
            classes.add("dim")
        elif code == 22:
            classes -= {"bold", "dim"}
        elif code == 39 or 30 <= code <= 37 or 90 <= code <= 97:
            classes -= {f"c{number}" for number in range(8)}
            if code != 39:
                classes.add(f"c{code % 10}")


# --- the page -----------------------------------------------------------------------------------

_HEAD = """\
# A tour of the commands

<!-- Made by `make tour`, which types all of this into a terminal; see tools/docs/tour.py. -->

From a worker that is killed to its session in another store, and a night on call with three
hundred sessions: what a person types, and what the terminal shows, 80 and 140 columns wide, with
colours and without. The middle of a long output is left out.
"""


def page() -> str:
    """Go on all tours, and return the page."""
    tours = {
        (width, colored): tour(width, colored=colored)
        for width in WIDTHS
        for colored in (False, True)
    }
    parts = [_HEAD]
    for number, step in enumerate(STEPS):
        ending = f" It ends with {step.code}." if step.code else ""
        parts.append(f"## {step.heading}\n\n{step.words}{ending}\n")
        for (width, colored), shown in tours.items():
            one = shown[number]
            if one.code != step.code:
                raise SystemExit(f"{step.command} ended with {one.code}:\n{one.text}")
            parts.append(_block(one, width, colored))
    return "\n".join(parts)


def _block(shown: Shown, width: int, colored: bool) -> str:
    typed = f"$ {shown.step.command}"
    lines = _abridged(shown.lines if colored else shown.text.splitlines())
    if (width, colored) == (WIDTHS[0], False):
        return "\n".join(["```text", typed, *lines, "```", ""])
    body = as_html([typed, *lines])
    name = f"{width} columns{', in colour' if colored else ''}"
    return (
        f'<details><summary>{name}</summary>\n\n<pre class="terminal">{body}</pre>\n\n</details>\n'
    )


def _abridged(lines: list[str]) -> list[str]:
    """Leave the middle of a long output out."""
    hidden = len(lines) - _SHOWN - _SHOWN_LAST
    if hidden < 2:
        return lines
    return [*lines[:_SHOWN], f"… {hidden} lines …", *lines[-_SHOWN_LAST:]]


def main() -> int:
    """Write the page."""
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if missing:
        print(f"the tour needs {' and '.join(missing)}", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
