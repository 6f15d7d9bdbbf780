"""Filters: the options that choose sessions by what a listing knows of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click

from sessionstore.cli.options.label_pairs import label_option
from sessionstore.cli.options.shared import Settings
from sessionstore.cli.options.statuses import statuses_option
from sessionstore.cli.options.units import Duration, ParamType, parse_moment

F = TypeVar("F", bound=Callable[..., Any])


class Moment(ParamType):
    """A time: ISO 8601, or an age such as ``2h``, which counts from now."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time."""
        now = Settings.of(ctx).now()
        try:
            return parse_moment(str(value), now)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _flag(name: str, help_text: str) -> Callable[[F], F]:
    return click.option(f"--{name}", is_flag=True, help=help_text)


def _id(name: str) -> Callable[[F], F]:
    text = f"Only sessions with this {name} id."
    return click.option(f"--{name}", f"{name}_id", metavar="ID", help=text)


def _time(name: str, word: str) -> Callable[[F], F]:
    text = f"Only sessions updated {word} TIME: ISO 8601, or 2h, 3d."
    return click.option(f"--{name}", metavar="TIME", type=Moment(), help=text)


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "resumable": _flag("resumable", "Only sessions with a state to go on from."),
    "unfinished": _flag("unfinished", "Only sessions that are neither completed nor cancelled."),
    "stale": _flag("stale", "Only active sessions whose process is dead."),
    "idle": click.option(
        "--idle",
        metavar="TIME",
        type=Duration(),
        help="Only active sessions whose process lives and has saved or appended nothing for TIME:"
        " 90s, 10m, 2h.",
    ),
    "interrupted": _flag("interrupted", "Only sessions that were stopped at work."),
    "damaged": _flag("damaged", "Only sessions whose state cannot be read."),
    "status": statuses_option("-s", "--status", "status", told="Only sessions with one of these"),
    "goal_id": _id("goal"),
    "agent_id": _id("agent"),
    "correlation_id": _id("correlation"),
    "stream_id": _id("stream"),
    "labels": label_option("Only sessions with this label"),
    "since": _time("since", "since"),
    "until": _time("until", "before"),
}
"""Each filter of a query, and its option."""

ALL = tuple(_OPTIONS)


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def filter_options(*names: str) -> Callable[[F], F]:
    """Add the options of these filters; the command gets those that were given as ``filters``."""

    def add(command: F) -> F:
        @wraps(command)
        def call(*args: Any, **given: Any) -> Any:
            values = {name: given.pop(name) for name in names}
            filters = {name: value for name, value in values.items() if _is_given(value)}
            return command(*args, filters=filters, **given)

        with_options: Any = call
        for name in reversed(names):
            with_options = _OPTIONS[name](with_options)
        found: F = with_options
        return found

    return add
