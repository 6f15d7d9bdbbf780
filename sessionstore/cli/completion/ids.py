"""What a shell may complete: ids of sessions and checkpoints, from the names of directories alone.

Nothing is opened, so that a key press is answered at once in a store of any size, and damage
shows nowhere. Whatever cannot be listed completes to nothing: a shell is no place for errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from sessionstore.model.ids import is_id

if TYPE_CHECKING:
    _Text = click.ParamType[str]  # older versions of click cannot be subscripted
else:
    _Text = click.ParamType

VARIABLE = "_SESSIONSTORE_COMPLETE"
"""The environment variable by which a shell's script asks, as click names it."""

LIMIT = 50
"""How many ids are offered at most."""

_MANY = 500
"""How many names at each end of an order are judged, so that enough of them are ids."""

_CHECKPOINT = ".json"


def complete_session(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the ids that begin with ``incomplete``; those named before it are left out."""
    named = context.params.get(parameter.name or "")
    taken = set(named) if isinstance(named, tuple | list) else set()
    names = _names(_sessions(context), incomplete)
    return _some([name for name in names if name not in taken] if taken else names)


def complete_checkpoint(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return the checkpoint ids, of the sessions named so far, that begin with ``incomplete``."""
    del parameter
    found: set[str] = set()
    sessions = _sessions(context)
    for given in _named_sessions(context):
        if is_id(given) and os.path.isdir(os.path.join(sessions, given)):
            of = [given]  # also where other ids begin with it
        else:
            of = _names(sessions, given) if given else []
        if len(of) == 1:
            files = _names(os.path.join(sessions, of[0], "checkpoints"), incomplete)
            found |= {file.removesuffix(_CHECKPOINT) for file in files if _CHECKPOINT in file}
    return _some(found)


class SessionId(_Text):
    """A session id, or the beginning of one, which a shell completes."""

    name = "id"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what it may become."""
        return [CompletionItem(name) for name in complete_session(ctx, param, incomplete)]


class CheckpointId(_Text):
    """A checkpoint id, or the beginning of one, of the sessions named before it."""

    name = "checkpoint"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what it may become."""
        return [CompletionItem(name) for name in complete_checkpoint(ctx, param, incomplete)]


class Place(_Text):
    """The name of a file, or of a directory, which the shell itself completes."""

    def __init__(self, kind: str) -> None:
        self.name = self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what tells the shell to do it."""
        del ctx, param
        return [CompletionItem(incomplete, type=self._kind)]


SESSION_ID, CHECKPOINT_ID = SessionId(), CheckpointId()
FILE, DIRECTORY = Place("file"), Place("dir")


def _named_sessions(context: click.Context) -> Iterator[str]:
    for item in context.command.params:
        if item.type is SESSION_ID:
            value = context.params.get(item.name or "")
            yield from (value,) if isinstance(value, str) else value or ()
    # At `show ID --at` click gives up on an option without a value, and leaves the rest in args.
    yield from context.args


def _sessions(context: click.Context) -> str:
    root = getattr(context.obj, "root", None)  # of the settings, which need these types
    return os.path.join(os.path.expanduser(root), "sessions") if root else ""


def _names(directory: str, beginning: str) -> list[str]:
    if not directory:
        return []
    try:
        # Names alone: looking at each entry would take ten times as long as reading them.
        return [name for name in os.listdir(directory) if name.startswith(beginning)]
    except OSError:
        return []


def _some(names: Iterable[str]) -> list[str]:
    """Return the first ids and the last one, in order.

    A shell inserts what all that is offered has in common. With the last one among them that is
    what all ids have in common, also those that are not offered.
    """
    candidates = list(names)
    if len(candidates) > _MANY:
        # To judge a hundred thousand names takes longer than a key press may.
        candidates = [*nsmallest(_MANY, candidates), *nlargest(_MANY, candidates)]
    # A name that is no id (something being built, hostile bytes) must not reach a terminal.
    ids = sorted({name for name in candidates if is_id(name)})
    return ids if len(ids) <= LIMIT else [*ids[: LIMIT - 1], ids[-1]]
