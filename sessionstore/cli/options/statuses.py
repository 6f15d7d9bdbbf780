"""Statuses on the command line: separated by commas, or repeated."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from sessionstore.cli.options.units import ParamType
from sessionstore.model.status import SessionStatus
from sessionstore.text import printable

F = TypeVar("F", bound=Callable[..., Any])

ALL = tuple(str(status) for status in SessionStatus)


class Statuses(ParamType):
    """Some of the statuses, separated by commas."""

    name = "statuses"

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names of the statuses."""
        names = tuple(name.strip() for name in str(value).split(","))
        for name in names:
            if name not in self._known:
                known = ", ".join(self._known)
                self.fail(f"{printable(name, limit=40)!r} is not one of {known}", param, ctx)
        return names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what the last status may become."""
        del ctx, param
        before, comma, last = incomplete.rpartition(",")
        named = before.split(",")
        return [
            CompletionItem(before + comma + name)
            for name in self._known
            if name.startswith(last) and name not in named
        ]


def _flat(
    _: click.Context, __: click.Parameter, value: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain(*value)))


def statuses_option(
    *flags: str, told: str, known: tuple[str, ...] = ALL, default: str = ""
) -> Callable[[F], F]:
    """Add an option that takes statuses separated by commas, and may be repeated."""
    return click.option(
        *flags,
        multiple=True,
        type=Statuses(known),
        callback=_flat,
        metavar="STATUS,...",
        help=f"{told}: {', '.join(known)}; comma-separated or repeated.{default}",
    )
