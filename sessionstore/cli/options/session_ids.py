"""Session ids as people type them: the id, or the beginning of it that only one session has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from sessionstore.cli.completion.ids import SESSION_ID
from sessionstore.errors import SessionNotFound
from sessionstore.model.ids import check_id, is_id
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.store.store import SessionStore

session_argument = click.argument("session_id", metavar="ID", type=SESSION_ID)
sessions_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=SESSION_ID)

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
    if not given.isascii() or not given:
        check_id(given)  # no id begins like that, so there is none to look for
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


def _named(candidates: Sequence[str]) -> str:
    more = ", ..." if len(candidates) > _NAMED else ""
    return ", ".join(candidates[:_NAMED]) + more


def resolve_one(store: SessionStore[Any], given: str, root: object) -> str:
    """Return the one id that is meant; for ``-`` the one on the only line of stdin.

    Raises:
        click.UsageError: stdin has none, or more than one; or as for :func:`resolve`.
        InvalidSessionId, SessionNotFound: as for :func:`resolve`.
    """
    if given != "-":
        return resolve(store, given, root)
    # A second line is enough to refuse: whoever writes may have no end.
    names = list(islice(_lines(), 2))
    if len(names) != 1:
        found = "has none" if not names else "has more: choose one, as with head -1"
        raise click.UsageError(f"- reads the id of one session from stdin, which {found}")
    return resolve(store, names[0], root)


def resolve_all(store: SessionStore[Any], given: Sequence[str], root: object) -> Iterator[str]:
    """Yield the ids that are meant, one by one; for ``-`` those on the lines of stdin.

    Lines are read as they come, so that a pipe shows the first result before its last id.

    Raises:
        click.UsageError, InvalidSessionId, SessionNotFound: as for :func:`resolve`.
    """
    for one in given:
        for name in _lines() if one == "-" else (one,):
            yield resolve(store, name, root)


def _lines() -> Iterator[str]:
    if sys.stdin is None:
        raise click.UsageError("- reads ids from stdin, which is closed")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # so that a line of rubbish is named
    for line in sys.stdin:
        if name := line.strip():
            yield name
