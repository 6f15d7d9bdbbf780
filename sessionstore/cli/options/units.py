"""Times, durations and sizes, as people write them (``2h``, ``500M``) and read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from sessionstore import clock
from sessionstore.text import printable

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]  # older versions of click cannot be subscripted
else:
    ParamType = click.ParamType

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(?:\d+[smhdw])+", re.ASCII)
_PLAIN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})s?", re.ASCII)
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*(|[KMGT])(?:I?B)?", re.ASCII | re.IGNORECASE)


def parse_moment(text: str, now: datetime) -> datetime:
    """Return the time that ``text`` means: an age before ``now``, or ISO 8601.

    An ISO time without an offset is local time.

    Raises:
        ValueError: ``text`` is neither.
    """
    text = text.strip()
    if _AGE.fullmatch(text):
        try:
            return now - parse_age(text)
        except OverflowError:
            raise ValueError(f"{text!r} is too long ago for a date") from None
    moment = clock.parse(text)
    if moment is None:
        raise ValueError(
            f"{text!r} is neither an age such as 90s, 30m, 2h, 3d or 1w,"
            " nor an ISO 8601 time such as 2026-01-25 or 2026-01-25T17:09:03Z"
        )
    return moment


def parse_age(text: str) -> timedelta:
    """Return the duration that ``text`` means, such as ``90s``, ``2h`` or ``1d12h``.

    Raises:
        ValueError: ``text`` is not a duration, or too long.
    """
    text = text.strip()
    if not _AGE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 2h, 3d or 1w")
    found = re.findall(r"(\d+)([smhdw])", text)
    try:
        return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in found))
    except (OverflowError, ValueError):  # ValueError: Python does not read thousands of digits
        raise ValueError(f"{printable(text, limit=40)} is too long") from None


def parse_size(text: str) -> int:
    """Return a number of bytes; K, M, G and T are powers of 1,024, as in ``ls -h``.

    Raises:
        ValueError: ``text`` is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{printable(text, limit=40)} is not a size such as 500M, 10G or 1.5GiB")
    return int(float(found[1]) * _BYTES[found[2].upper()])


class Duration(ParamType):
    """A duration in seconds, plain or with units: ``30``, ``0.5``, ``30s``, ``5m``, ``1h30m``."""

    name = "time"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        text = str(value).strip()
        try:
            found = _PLAIN.fullmatch(text)
            seconds = float(found[1]) if found else parse_age(text).total_seconds()
        except ValueError:
            shown = printable(text, limit=40)
            self.fail(f"{shown!r} is not a duration such as 0.5, 30s, 5m or 1h30m", param, ctx)
        if seconds < self._least:
            self.fail(
                f"{printable(text, limit=40)} is less than {self._least:g} seconds", param, ctx
            )
        return seconds


class Parsed(ParamType):
    """A value that a function parses; its ValueError tells what is wrong."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed value."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


AGE, SIZE = Parsed("age", parse_age), Parsed("size", parse_size)


def relative_time(text: str | None, now: datetime) -> str:
    """Return ``5 min ago``; a time that cannot be parsed is shown as it is."""
    moment = clock.parse(text)
    if moment is None:
        return printable(text or "-", limit=40)
    return clock.ago(moment, now)


def absolute_time(text: str | None, now: datetime) -> str:
    """Return the stored time, and how long ago it was."""
    if not text:
        return "-"
    shown = printable(text, limit=60)
    return f"{shown} ({relative_time(text, now)})" if clock.parse(text) else shown
