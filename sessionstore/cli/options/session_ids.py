"""Session ids as people type them: the id, or a unique prefix or suffix of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from sessionstore.cli.completion.ids import SESSION_ID
from sessionstore.cli.session_names import nearest_names, session_names
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
"""How many candidates a message names."""
_NEAREST = 3
_LOOKED_AT = 50
"""Up to so many candidates are looked at, whether they are sessions."""


def resolve(store: SessionStore[Any], given: str, root: str | None) -> str:
    """Return the id that ``given`` is, else the only one that begins so, else that ends so.

    Raises:
        click.UsageError: several ids begin so, or none does and several end so; some are named.
        InvalidSessionId: no id can have this beginning or end.
        SessionNotFound: no session is meant; a note names the nearest ids.
        StorageError: the sessions cannot be listed.
    """
    found = find_meant(store, given, root)
    if found is not None:
        return found
    check_id(given)
    missing = SessionNotFound(given, root)
    if nearest := nearest_ids(store, given, root):
        missing.add_note(f"nearest: {', '.join(nearest)}")
    raise missing


def nearest_ids(store: SessionStore[Any], given: str, root: str | None) -> list[str]:
    """Return the ids of up to three sessions that are like ``given``, best first.

    Raises:
        StorageError: the sessions cannot be listed.
    """
    names = nearest_names(root, given)
    return [name for name in names if is_id(name) and store.exists(name)][:_NEAREST]


def find_meant(store: SessionStore[Any], given: str, root: str | None) -> str | None:
    """Return the id that ``given`` means, as :func:`resolve` does; None if there is none."""
    if is_id(given) and store.exists(given):
        return given  # even if other ids begin or end so
    if not given.isascii() or not given:
        check_id(given)  # it raises: no id begins or ends like that
    names = session_names(root)
    for way, matches in (("begin", str.startswith), ("end", str.endswith)):
        candidates = _sessions(store, [name for name in names if matches(name, given)])
        if len(candidates) > 1:
            shown = ", ".join(candidates[:_NAMED])
            more = ", ..." if len(candidates) > _NAMED else ""
            raise click.UsageError(
                f"{len(candidates):,} ids {way} with {printable(given)}: {shown}{more}"
            )
        if candidates:
            return candidates[0]
    return None


def _sessions(store: SessionStore[Any], names: list[str]) -> list[str]:
    """Return the ids of sessions among ``names``, sorted."""
    ids = sorted(filter(is_id, names))
    # A directory that the application made first is no session yet. Of many nobody means one.
    return [name for name in ids if store.exists(name)] if len(ids) <= _LOOKED_AT else ids


def resolve_one(store: SessionStore[Any], given: str, root: str | None) -> str:
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


def resolve_all(store: SessionStore[Any], given: Sequence[str], root: str | None) -> Iterator[str]:
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
