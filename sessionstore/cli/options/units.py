"""Lengths of time as options take them: ``30``, ``0.5``, ``30s``, ``5m``, ``1h30m``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli.options import times
from sessionstore.text import printable

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]  # older versions of click cannot be subscripted
else:
    _Seconds = click.ParamType

_PLAIN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})s?", re.ASCII)


class Duration(_Seconds):
    """Seconds, plain or with units."""

    name = "time"

    def __init__(self, least: float = 0.0) -> None:
        self._least = least

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds that are meant."""
        text = str(value).strip()
        try:
            found = _PLAIN.fullmatch(text)
            seconds = float(found[1]) if found else times.parse_age(text).total_seconds()
        except ValueError:
            shown = printable(text, limit=40)
            self.fail(f"{shown!r} is no length of time such as 0.5, 30s, 5m or 1h30m", param, ctx)
        if seconds < self._least:
            self.fail(
                f"{printable(text, limit=40)} is less than {self._least:g} seconds", param, ctx
            )
        return seconds
