"""The commands by name. A module is imported when its command is run or asked for help.

``--help`` and the completion of an id answer before pydantic and rich could be loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command that was not imported: where it is, and what the list of commands says of it."""

    section: str
    module: str
    summary: str
    attribute: str | None = None
    """Its name in the module, where that is not the command's own."""


LOOK, ACT, CARE = "Look", "Act", "Take care"

COMMANDS: dict[str, Entry] = {
    "ls": Entry(LOOK, "ls", "List sessions."),
    "show": Entry(LOOK, "show", "Show one session."),
    "watch": Entry(LOOK, "watch", "Show sessions as they change."),
    "tail": Entry(LOOK, "tail", "Show the saves of one session, one a line."),
    "recover": Entry(ACT, "recover", "Mark sessions that dead processes left active."),
    "export": Entry(CARE, "export", "Write sessions to an archive, to take elsewhere."),
    "import": Entry(CARE, "importing", "Take in what an export wrote.", "import_"),
    "prune": Entry(CARE, "prune", "Delete what a retention policy lets go."),
    "fsck": Entry(CARE, "fsck", "Find damage and left-overs, and mend them."),
}


class LazyGroup(click.Group):
    """A group of the commands above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """Return the command, imported now; None if there is no such."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"sessionstore.cli.{entry.module}")
        command = getattr(module, entry.attribute or cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands by section, without importing them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        width = max(map(len, COMMANDS))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])
