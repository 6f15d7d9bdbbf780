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


LOOK, ACT, CARE, SHELL = "Look", "Act", "Take care", "Shell"

COMMANDS: dict[str, Entry] = {
    "ls": Entry(LOOK, "ls", "List sessions."),
    "show": Entry(LOOK, "show", "Show one session."),
    "explain": Entry(LOOK, "explain", "Say in plain words what became of a session."),
    "history": Entry(LOOK, "history", "Show the checkpoints of a session as a timeline."),
    "diff": Entry(LOOK, "diff", "Show how two states of a session differ."),
    "stats": Entry(LOOK, "stats", "Count sessions and what they take."),
    "watch": Entry(LOOK, "watch", "Show sessions as they change."),
    "tail": Entry(LOOK, "tail", "Show the saves of one session, one a line."),
    "recover": Entry(ACT, "recover", "Mark sessions that dead processes left active."),
    "mark": Entry(ACT, "mark", "Say how a session ended that nobody holds."),
    "cancel": Entry(ACT, "cancel", "Ask whoever runs a session to end it."),
    "fork": Entry(ACT, "fork", "Begin a new session from a kept state."),
    "export": Entry(CARE, "export", "Write sessions to an archive, to take elsewhere."),
    "import": Entry(CARE, "import_", "Take in what an export wrote.", "import_"),
    "delete": Entry(CARE, "delete", "Delete sessions by name."),
    "prune": Entry(CARE, "prune", "Delete what a retention policy lets go."),
    "fsck": Entry(CARE, "fsck", "Find damage and left-overs, and mend them."),
    "doctor": Entry(CARE, "doctor", "Try whether a place is fit for a store."),
    "completion": Entry(SHELL, "completion", "Print the completion script of a shell."),
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
        module = import_module(f"{__name__}.{entry.module}")
        command = getattr(module, entry.attribute or cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self,
        ctx: click.Context,
        args: list[str],
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return what ``args`` begins with; a name that is none is answered with the nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            nearest = get_close_matches(name, COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(nearest)}?" if nearest else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

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
