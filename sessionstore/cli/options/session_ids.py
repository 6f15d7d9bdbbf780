"""Session ids as people type them: the id or a unique prefix of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from sessionstore.cli.completion.ids import SESSION_ID
from sessionstore.errors import SessionNotFound
from sessionstore.model.ids import check_id, is_id
from sessionstore.text import printable

if TYPE_CHECKING:
    from sessionstore.store.store import SessionStore

session_argument: Final = click.argument("session_id", metavar="ID", type=SESSION_ID)
sessions_argument: Final = click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, type=SESSION_ID
)

_NAMED = 5


def resolve(store: SessionStore[Any], given: str, root: object) -> str:
    """Return the id that ``given`` is, or the only one that it is a prefix of.

    Raises:
        click.UsageError: several ids have the prefix; some are named.
        InvalidSessionId: no id can have the prefix.
        SessionNotFound: no session has the prefix.
    """
    if is_id(given) and store.exists(given):
        return given  # even if it is a prefix of other ids
    if not given.isascii() or not given:
        check_id(given)  # it raises: no id begins like that
    page = store.find(id_prefix=given, order="session_id", limit=_NAMED + 1)
    candidates = [item.session_id for item in page.items]
    if not candidates:
        check_id(given)
        raise SessionNotFound(given, root)
    if len(candidates) > 1:
        raise click.UsageError(
            f"{printable(given)} is a prefix of more than one id: {_named(candidates)}"
        )
    return candidates[0]


def _named(candidates: Sequence[str]) -> str:
    more = ", ..." if len(candidates) > _NAMED else ""
    return ", ".join(candidates[:_NAMED]) + more


def resolve_one(store: SessionStore[Any], given: str, root: object) -> str:
    """Return the one id that is meant; ``-`` reads it from the only line of stdin.

    Raises:
        click.UsageError: stdin has no line, or several; or as for :func:`resolve`.
        InvalidSessionId: as for :func:`resolve`.
        SessionNotFound: as for :func:`resolve`.
    """
    if given != "-":
        return resolve(store, given, root)
    # Two lines are enough to refuse: the input may have no end.
    names = list(islice(_lines(), 2))
    if len(names) != 1:
        found = "has none" if not names else "has more: choose one, as with head -1"
        raise click.UsageError(f"- reads one session id from stdin, which {found}")
    return resolve(store, names[0], root)


def resolve_all(store: SessionStore[Any], given: Sequence[str], root: object) -> Iterator[str]:
    """Yield the ids that are meant, one by one; ``-`` reads them from the lines of stdin.

    Lines are read as they come, so that the first result shows before the last id is read.

    Raises:
        click.UsageError: as for :func:`resolve`.
        InvalidSessionId: as for :func:`resolve`.
        SessionNotFound: as for :func:`resolve`.
    """
    for one in given:
        for name in _lines() if one == "-" else (one,):
            yield resolve(store, name, root)


def _lines() -> Iterator[str]:
    if sys.stdin is None:
        raise click.UsageError("- reads ids from stdin, which is closed")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # so that a line that is not text is named
    for line in sys.stdin:
        if name := line.strip():
            yield name
