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

Every command says this with `--help`. They need the extra `cli`: `pip install 'sessionstore[cli]'`.

What holds for all of them:

- The store is named by `--root DIR`, before or after the name of the command, or by
  `SESSIONSTORE_ROOT`. Only `import --create` ever makes one.
- A session is named by its id or a unique prefix of it. `-` reads ids from stdin, one a
  line.
- Data goes to stdout, everything else to stderr; with `-q` only errors, and what is damaged or was
  left out. A reader that has seen enough
  (`sessionstore ls | head -1`) is no error.
- SIGTERM and SIGHUP end a command as Ctrl-C does: what it had begun is cleared away. A shell sees
  143 and 129.
- JSON has a field `schema`, and so has each line of `-o jsonl`; its fields may grow, but keep their
  names and meaning.
- Text that comes from a session is shown escaped: it cannot act on a terminal.

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
    Exit.PARTLY: "some of it was done, and some could not be",
    Exit.TIMED_OUT: "what was waited for did not come in time",
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
