"""The types of what a shell completes: ids of sessions and checkpoints, journals, files.

The end of an id is completed if no id begins so and only one ends so. Of several, a shell inserts
their common beginning in the place of what was typed.

Ids come from the names of directories and files alone, so that a key press is answered at once
in a store of any size. What cannot be listed completes to nothing: errors are not for a shell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from sessionstore.cli.session_names import sessions_directory
from sessionstore.model.ids import is_id

if TYPE_CHECKING:
    _Text = click.ParamType[str]  # older versions of click cannot be subscripted
else:
    _Text = click.ParamType

VARIABLE = "_SESSIONSTORE_COMPLETE"
"""The environment variable that the script of a shell sets, as click names it."""

LIMIT = 50
"""How many ids are offered at most."""

_MANY = 500
"""How many names at each end of the order are checked, so that enough of them are ids."""

_CHECKPOINT, _JOURNAL = ".json", ".jsonl"


def complete_session(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the ids that ``incomplete`` may mean, without those named before."""
    named = context.params.get(parameter.name or "")
    taken = set(named) if isinstance(named, tuple | list) else set()
    names = _names(_sessions(context))
    left = [name for name in names if name not in taken] if taken else names
    return _some(_meant(left, incomplete))


def complete_checkpoint(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the checkpoint ids of the named sessions that ``incomplete`` may mean."""
    del parameter
    return _kept(context, "checkpoints", _CHECKPOINT, incomplete)


def complete_journal(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of the journals of the named session that ``incomplete`` may mean."""
    del parameter
    return _kept(context, "journals", _JOURNAL, incomplete)


def _kept(context: click.Context, kind: str, suffix: str, incomplete: str) -> list[str]:
    """Return the names of the files that the named sessions keep in the directory ``kind``."""
    found: set[str] = set()
    sessions = _sessions(context)
    for given in _named_sessions(context):
        if is_id(given) and os.path.isdir(os.path.join(sessions, given)):
            of = [given]  # even if other ids begin or end so
        else:
            of = _meant(_names(sessions), given) if given else []
        if len(of) == 1:
            files = _names(os.path.join(sessions, of[0], kind))
            found |= {file.removesuffix(suffix) for file in files if file.endswith(suffix)}
    return _some(_meant(found, incomplete))


class _Completed(_Text):
    """Text that ``complete`` completes: it returns what may be meant."""

    def __init__(
        self, name: str, complete: Callable[[click.Context, click.Parameter, str], list[str]]
    ) -> None:
        self.name = name
        self._complete = complete

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that it may become."""
        return [CompletionItem(name) for name in self._complete(ctx, param, incomplete)]


class Place(_Text):
    """The name of a file or a directory, which the shell completes itself."""

    def __init__(self, kind: str) -> None:
        self.name = self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the item that asks the shell to do so."""
        del ctx, param
        return [CompletionItem(incomplete, type=self._kind)]


SESSION_ID = _Completed("id", complete_session)
CHECKPOINT_ID = _Completed("checkpoint", complete_checkpoint)
JOURNAL_NAME = _Completed("name", complete_journal)
FILE, DIRECTORY = Place("file"), Place("dir")


def _named_sessions(context: click.Context) -> Iterator[str]:
    for item in context.command.params:
        if item.type is SESSION_ID:
            value = context.params.get(item.name or "")
            yield from (value,) if isinstance(value, str) else value or ()
    # In `show ID --at` the option has no value yet: click leaves the rest in args.
    yield from context.args


def _sessions(context: click.Context) -> str:
    root = getattr(context.obj, "root", None)  # of the settings, which need these types
    return sessions_directory(root)


def _meant(names: Collection[str], typed: str) -> list[str]:
    """Return the names that begin with ``typed``; if none does, the only one that ends so."""
    found = [name for name in names if name.startswith(typed)]
    if found:
        return found
    found = [name for name in names if name.endswith(typed)]
    return found if len(found) == 1 else []


def _names(directory: str) -> list[str]:
    if not directory:
        return []
    try:
        # Only names: a look at each entry would take ten times as long.
        return os.listdir(directory)
    except OSError:
        return []


def _some(names: Iterable[str]) -> list[str]:
    """Return the first ids and the last one, in order.

    A shell inserts the prefix that all offered ids share. With the last id among them, it is the
    prefix of all ids.
    """
    candidates = list(names)
    if len(candidates) > _MANY:
        # Checking a hundred thousand names takes too long for a key press.
        candidates = [*nsmallest(_MANY, candidates), *nlargest(_MANY, candidates)]
    # A name that is not an id (a temporary name, hostile bytes) must not reach a terminal.
    ids = sorted({name for name in candidates if is_id(name)})
    return ids if len(ids) <= LIMIT else [*ids[: LIMIT - 1], ids[-1]]
