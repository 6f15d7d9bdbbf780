"""The commands by name. The module of a command is imported when the command is needed.

``--help`` and completion answer without loading pydantic or rich.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command that need not be imported yet: its module, and its line in the list of commands."""

    section: str
    module: str
    summary: str
    attribute: str | None = None
    """The name of the function in the module, if it is not the name of the command."""


LOOK, ACT, CARE, SHELL = "Look", "Act", "Take care", "Shell"

COMMANDS: dict[str, Entry] = {
    "ls": Entry(LOOK, "ls", "List sessions."),
    "show": Entry(LOOK, "show", "Show sessions in full."),
    "explain": Entry(LOOK, "explain", "Explain what happened to a session."),
    "history": Entry(LOOK, "history", "Show the checkpoints of a session as a timeline."),
    "diff": Entry(LOOK, "diff", "Show how two states of a session differ."),
    "stats": Entry(LOOK, "stats", "Count sessions and measure their sizes."),
    "watch": Entry(LOOK, "watch", "Show sessions as they change."),
    "tail": Entry(LOOK, "tail", "Show the saves of one session, one a line."),
    "journal": Entry(LOOK, "journal", "Show the records of a journal, one a line."),
    "steps": Entry(LOOK, "steps", "Show or settle the steps of a session."),
    "recover": Entry(ACT, "recover", "Mark sessions that dead processes left active."),
    "mark": Entry(ACT, "mark", "Record how an unclaimed session ended."),
    "retry": Entry(ACT, "retry", "Have the start-up loop try sessions again."),
    "label": Entry(ACT, "label", "Show or change the labels of a session."),
    "cancel": Entry(ACT, "cancel", "Ask the process that runs a session to end it."),
    "fork": Entry(ACT, "fork", "Create a session from a kept state of another."),
    "export": Entry(CARE, "export", "Write sessions to an archive."),
    "import": Entry(CARE, "import_", "Read sessions from an archive.", "import_"),
    "delete": Entry(CARE, "delete", "Delete the named sessions."),
    "prune": Entry(CARE, "prune", "Delete by a retention policy."),
    "fsck": Entry(CARE, "fsck", "Find damage and left-overs, and repair them."),
    "doctor": Entry(CARE, "doctor", "Test whether a directory is fit for a store."),
    "completion": Entry(SHELL, "completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """The group of these commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command; None if there is none of this name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"{__name__}.{entry.module}")
        command = getattr(module, entry.attribute or cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` begin with, and the rest of them.

        ``help`` is the option of the command that follows. For an unknown name the nearest is
        suggested.
        """
        if ctx.resilient_parsing:  # a shell completes
            return super().resolve_command(ctx, args)
        name, rest = args[0], args[1:]
        if name == "help":
            if rest and rest[0] != "help" and not rest[0].startswith("-"):
                return self.resolve_command(ctx, [rest[0], "--help"])
            click.echo(ctx.get_help())
            ctx.exit()
        if name not in COMMANDS and not name.startswith("-"):
            from sessionstore.cli.commands.near_misses import suggestion

            ctx.fail(f"No such command {name!r}{suggestion(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            sections.setdefault(entry.section, []).append((name, entry.summary))
        width = max(map(len, COMMANDS))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])
