"""Labels on the command line: ``key=value``, and ``key-`` for one to remove."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import click

from sessionstore.cli.options.units import ParamType
from sessionstore.model.labels import key_offence
from sessionstore.text import printable

F = TypeVar("F", bound=Callable[..., Any])


class Label(ParamType):
    """One label, as ``key=value``; a value may hold more of ``=``, or nothing."""

    name = "label"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the key and the value."""
        key, equals, text = str(value).partition("=")
        shown = printable(value, limit=80)
        if not equals:
            self.fail(f"{shown!r} is not a label: type KEY=VALUE", param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{shown!r} is not UTF-8", param, ctx)
        if reason := key_offence(key):
            self.fail(f"{shown!r}: {reason}", param, ctx)
        return key, text


LABEL = Label()


def _as_dict(
    context: click.Context, option: click.Parameter, given: tuple[tuple[str, str], ...]
) -> dict[str, str] | None:
    """Return the labels by key; None if there is none."""
    labels = dict(given)
    if len(labels) < len(set(given)):
        raise click.BadParameter("one label cannot have two values", context, option)
    return labels or None


def label_option(told: str) -> Callable[[F], F]:
    """Add --label, which may be repeated."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        type=LABEL,
        callback=_as_dict,
        metavar="KEY=VALUE",
        help=f"{told}; repeated: with all of them.",
    )


class LabelChanges(NamedTuple):
    """What to change in the labels of a session."""

    set: dict[str, str]
    removed: tuple[str, ...]


def read_changes(words: Iterable[str], removed: Iterable[str]) -> LabelChanges:
    """Return what ``key=value`` and ``key-`` ask for, and keys to remove.

    Raises:
        click.UsageError: a word is neither of them, or a key is named twice.
    """
    pairs: list[tuple[str, str]] = []
    gone = list(removed)
    for word in words:
        if "=" in word:
            pairs.append(LABEL.convert(word, None, None))
        elif word.endswith("-") and len(word) > 1:
            gone.append(word[:-1])
        else:
            shown = printable(word, limit=80)
            raise click.UsageError(
                f"{shown!r} is not a label: KEY=VALUE sets one, KEY- removes one"
            )
    keys = [*(key for key, _ in pairs), *gone]
    for key in keys:
        if keys.count(key) > 1:
            raise click.UsageError(f"the label {printable(key, limit=80)!r} is named twice")
    return LabelChanges(dict(pairs), tuple(gone))
