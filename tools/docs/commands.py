"""Write docs/commands.md: the help of every command, as the command itself gives it.

``python -m tools.docs.commands`` writes the page; a test compares it with what the code says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from sessionstore.cli.app import NAME, app
from sessionstore.cli.commands import COMMANDS
from sessionstore.cli.errors import Exit
from sessionstore.cli.options.shared import Settings

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
_WIDTH = 100

_HEAD = """\
# Commands

<!-- Made by `python -m tools.docs.commands` from the help of the commands. -->

Every command shows this with `--help`, and so does `sessionstore help COMMAND`. The commands need
the extra `cli`: `pip install 'sessionstore[cli]'`.

All commands have this in common:

- `--root DIR`, before or after the name of the command, names the store; so does
  `SESSIONSTORE_ROOT`. Only `import --create` creates one.
- An id, or a unique prefix or suffix of it, names a session. `-` reads ids from stdin, one a line.
- Data goes to stdout, everything else to stderr. With `-q` stderr has only errors, damage and
  omissions. A reader that closes the pipe early (`sessionstore ls | head -1`) is not an error.
- SIGTERM and SIGHUP end a command as Ctrl-C does: its temporary files are removed. A shell reports
  143 and 129.
- JSON has a field `schema`, and so has each line of `-o jsonl`. Fields may be added; their names
  and meanings stay.
- Text from a session is escaped, so that it cannot act on a terminal.

| Exit code | Meaning |
|---|---|
"""

_MEANINGS = {
    Exit.OK: "done",
    Exit.ERROR: "an error; the message says which",
    Exit.USAGE: "the command was called wrongly",
    Exit.NOT_FOUND: "no such session or checkpoint, or no store",
    Exit.CLAIMED: "a live process holds the session",
    Exit.DAMAGE: "damage was found; it was left as it is",
    Exit.PARTLY: "some of the work was done, and some failed",
    Exit.TIMED_OUT: "a wait timed out",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}


def page() -> str:
    """Return the page."""
    codes = "".join(f"| {code.value} | {_MEANINGS[code]} |\n" for code in Exit)
    return _HEAD + codes + "\n" + "\n".join(_sections())


def _sections() -> Iterator[str]:
    settings = {**app.context_settings, "terminal_width": _WIDTH}
    outer = click.Context(app, info_name=NAME, obj=Settings(), **settings)
    yield f"## {NAME}\n\n```text\n{app.get_help(outer)}\n```\n"
    for name in COMMANDS:
        command = app.get_command(outer, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=outer)
        yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit()
