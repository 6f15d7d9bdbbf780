"""What all commands share: which store, which colours, which format, and their options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sessionstore import clock
from sessionstore.cli.options import times
from sessionstore.cli.output import streams

if TYPE_CHECKING:
    from sessionstore.model.state import SessionState
    from sessionstore.store.maintenance import StoreMaintenance
    from sessionstore.store.store import SessionStore

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """What was said before and after the name of the command; the latter wins."""

    root: str | None = None
    color: str = "auto"
    clock: clock.Clock = clock.utc_now

    def open_store(self, *, create: bool = False) -> SessionStore[SessionState]:
        """Return the store, which must be there, unless somebody asked to make it."""
        root = self.require_root()
        from sessionstore.cli import log_handlers
        from sessionstore.store.store import SessionStore

        log_handlers.show(click.get_current_context())
        return SessionStore(root, create=create, clock=self.clock)

    def open_operations(self) -> StoreMaintenance:
        """Return the store, which must be there, for what is asked of all its sessions.

        A SessionStore can do more, and loads pydantic for it, which takes as long as all else.
        """
        root = self.require_root()
        from sessionstore.cli import log_handlers
        from sessionstore.storage.files.backend import FilesBackend
        from sessionstore.store.maintenance import StoreMaintenance

        log_handlers.show(click.get_current_context())
        return StoreMaintenance(FilesBackend(root, create=False, clock=self.clock))

    def require_root(self) -> str:
        """Return the root, which must have been given."""
        if not self.root:
            raise click.UsageError("which store? Pass --root DIR, or set SESSIONSTORE_ROOT")
        return self.root

    def now(self) -> datetime:
        """Return the current time."""
        return self.clock()

    @property
    def colored(self) -> bool:
        """Whether stdout gets colours."""
        return streams.wants_color(self.color, sys.stdout)


def _remember(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None and option.name is not None:
        setattr(context.ensure_object(Settings), option.name, value)


def _hush(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        streams.hush()
        context.find_root().call_on_close(lambda: streams.hush(quiet=False))


def shared_options(*, outermost: bool = False) -> Callable[[F], F]:
    """Add --root, --color and --quiet: they stand before the name of a command, or after it."""

    def add(command: F) -> F:
        root = click.option(
            "--root",
            metavar="DIR",
            # Only outside: the environment must not override what was said before the command.
            envvar="SESSIONSTORE_ROOT" if outermost else None,
            show_envvar=outermost,
            expose_value=False,
            callback=_remember,
            help="The store." if outermost else "The store (default: SESSIONSTORE_ROOT).",
        )
        color = click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=_remember,
            help="Colours; auto (the default) means on a terminal, unless NO_COLOR is set.",
        )
        quiet = click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_hush,
            help="No notices on stderr: only errors, and what is damaged or was left out.",
        )
        return root(color(quiet(command)))

    return add


def output_option(ids: str | None) -> Callable[[F], F]:
    """Add -o; ``ids`` says which ids it prints, None that there are none to print."""
    choices = ["table", "json", "jsonl"] if ids is None else ["table", "json", "jsonl", "ids"]
    told = "" if ids is None else f", ids {ids}, one a line"
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default="table",
        show_default=True,
        help=f"json is one object, jsonl one object a line{told}.",
    )


def read_moment(
    context: click.Context, option: click.Parameter, value: str | None
) -> datetime | None:
    """Return the time that an option means: ISO 8601, or an age such as ``2h``."""
    if value is None:
        return None
    try:
        return times.parse_moment(value, context.ensure_object(Settings).now())
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None
