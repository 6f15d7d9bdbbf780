"""The options that commands share: the store, colours, notices and the output format."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sessionstore import clock
from sessionstore.cli import streams
from sessionstore.cli.completion.ids import DIRECTORY

if TYPE_CHECKING:
    from sessionstore.model.state import SessionState
    from sessionstore.storage.files.backend import FilesBackend
    from sessionstore.store.maintenance import StoreMaintenance
    from sessionstore.store.store import SessionStore

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """The options given before and after the name of the command; the latter win."""

    root: str | None = None
    color: str = "auto"
    clock: clock.Clock = clock.utc_now

    @classmethod
    def of(cls, context: click.Context | None) -> Settings:
        """Return the settings of the command that runs."""
        return cls() if context is None else context.ensure_object(cls)

    def open_store(self, *, create: bool = False) -> SessionStore[SessionState]:
        """Open the store, which must exist unless ``create`` is true."""
        root = self.require_root()
        from sessionstore.cli import log_handlers
        from sessionstore.store.store import SessionStore

        log_handlers.show(click.get_current_context())
        return SessionStore(root, create=create, clock=self.clock)

    def open_operations(self) -> StoreMaintenance:
        """Open the store, which must exist, for listings and counts.

        A SessionStore can do more but loads pydantic, which doubles the time of a short command.
        """
        backend = self.open_backend()
        from sessionstore.store.maintenance import StoreMaintenance

        return StoreMaintenance(backend)

    def open_backend(self) -> FilesBackend:
        """Open what a store keeps its sessions in, which must exist."""
        root = self.require_root()
        from sessionstore.cli import log_handlers
        from sessionstore.storage.files.backend import FilesBackend

        log_handlers.show(click.get_current_context())
        return FilesBackend(root, create=False, clock=self.clock)

    def require_root(self) -> str:
        """Return the root; without one the command was called wrongly."""
        if not self.root:
            raise click.UsageError("no store was named: pass --root DIR, or set SESSIONSTORE_ROOT")
        from sessionstore.durable import commit_order

        try:
            commit_order.wants_two("auto")  # else who opens the store looks at the environment
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return self.root

    def now(self) -> datetime:
        """Return the current time."""
        return self.clock()

    @property
    def colored(self) -> bool:
        """Whether stdout is coloured."""
        return streams.wants_color(self.color, sys.stdout)


def _remember(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None and option.name is not None:
        setattr(Settings.of(context), option.name, value)


def _quiet(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        streams.quiet()
        context.find_root().call_on_close(lambda: streams.quiet(on=False))


def shared_options(*, outermost: bool = False) -> Callable[[F], F]:
    """Add --root, --color and --quiet, which may stand before or after the name of a command."""

    def add(command: F) -> F:
        root = click.option(
            "--root",
            metavar="DIR",
            type=DIRECTORY,
            # Only here: the environment must not override --root before the command.
            envvar="SESSIONSTORE_ROOT" if outermost else None,
            show_envvar=outermost,
            expose_value=False,
            callback=_remember,
            help="The directory of the store.",
        )
        color = click.option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            expose_value=False,
            callback=_remember,
            help="Colours; auto (the default) colours a terminal, unless NO_COLOR is set.",
        )
        quiet = click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_quiet,
            help="No notices on stderr; errors, damage and omissions are still reported.",
        )
        return root(color(quiet(command)))

    return add


def output_option(ids: str | None = None, *, default: str = "table") -> Callable[[F], F]:
    """Add -o. ``ids`` says what ``-o ids`` prints; without it there is no such format."""
    choices = ["table", "json", "jsonl"] if ids is None else ["table", "json", "jsonl", "ids"]
    lines_of_ids = "" if ids is None else f"; ids: {ids}, one a line"
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default=default,
        show_default=True,
        help=f"json: one object; jsonl: an object a line{lines_of_ids}.",
    )
