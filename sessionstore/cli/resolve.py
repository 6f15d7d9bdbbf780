"""Session ids as people type them: the id, or the beginning of it that only one session has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli.exits import Exit
from sessionstore.errors import SessionNotFound
from sessionstore.ids import check_id, is_id
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.store import SessionStore

_NAMED = 5


def resolve(store: SessionStore[Any], given: str, root: object) -> str:
    """Return the id that ``given`` is, or is the only beginning of.

    Raises:
        click.UsageError: it is the beginning of several; they are named.
        InvalidSessionId: no id can begin like that.
        SessionNotFound: no id does.
    """
    if is_id(given) and store.exists(given):
        return given  # also where other ids begin with it
    if not given:
        check_id(given)
    page = store.find(id_prefix=given, order="session_id", limit=_NAMED + 1)
    candidates = [item.session_id for item in page.items]
    if not candidates:
        check_id(given)
        raise SessionNotFound(given, root)
    if len(candidates) > 1:
        raise click.UsageError(
            f"{printable(given)} is the beginning of more than one id: {_named(candidates)}"
        )
    return candidates[0]


class NoSuchCheckpoint(click.ClickException):
    """A session has no checkpoint that is called so, or begins so."""

    exit_code = Exit.NOT_FOUND


def resolve_checkpoint(store: SessionStore[Any], session_id: str, given: str) -> str:
    """Return the id of the checkpoint that ``given`` is, or is the only beginning of.

    Raises:
        click.UsageError: it is the beginning of several; they are named.
        NoSuchCheckpoint: there is none.
        SessionCorrupt, SessionNotFound, StorageError: they cannot be listed.
    """
    known = [item.checkpoint_id for item in store.checkpoints(session_id)]
    candidates = [name for name in known if name.startswith(given)]
    if given in known:
        return given
    if not candidates:
        raise NoSuchCheckpoint(
            f"{session_id} has no checkpoint {printable(given)!r}:"
            f" `sessionstore show {session_id}` names them"
        )
    if len(candidates) > 1:
        raise click.UsageError(
            f"{printable(given)} is the beginning of more than one checkpoint: "
            + _named(candidates)
        )
    return candidates[0]


def _named(candidates: Sequence[str]) -> str:
    more = ", ..." if len(candidates) > _NAMED else ""
    return ", ".join(candidates[:_NAMED]) + more


def resolve_all(store: SessionStore[Any], given: Sequence[str], root: object) -> Iterator[str]:
    """Yield the ids that are meant, one by one; for ``-`` those on the lines of stdin.

    Lines are read as they come, so that a pipe shows the first result before its last id.

    Raises:
        click.UsageError, InvalidSessionId, SessionNotFound: as for :func:`resolve`.
    """
    for one in given:
        if one != "-":
            yield resolve(store, one, root)
            continue
        if sys.stdin is None:
            raise click.UsageError("- reads ids from stdin, which is closed")
        for line in sys.stdin:
            if name := line.strip():
                yield resolve(store, name, root)
