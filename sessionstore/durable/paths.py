"""Turn what a caller names into an absolute path, or refuse it with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable

from sessionstore.errors import StorageError


def absolute(place: str | os.PathLike[str], action: str) -> str:
    """Return ``place`` as an absolute path, with a home directory in the place of ``~``.

    Raises:
        StorageError: it is empty, or the home or the current directory that it needs is not there.
            ``action`` says in the message what cannot be done.
    """
    return _resolved(place, action, os.path.abspath)


def real(place: str | os.PathLike[str], action: str) -> str:
    """Return the same, with all symbolic links followed."""
    return _resolved(place, action, os.path.realpath)


def _resolved(place: str | os.PathLike[str], action: str, resolve: Callable[[str], str]) -> str:
    given = os.fsdecode(os.fspath(place))
    if not given:
        raise StorageError(
            action, "''", "the path is empty: name it ('.' is the current directory)"
        )
    if "\0" in given:
        raise StorageError(action, given, "a path cannot hold a null character")
    expanded = _expanded(given, action)
    try:
        return resolve(expanded)
    except FileNotFoundError as error:
        reason = "the current directory was removed: change to another one, or give the whole path"
        raise StorageError(action, given, error, reason) from error
    except OSError as error:
        raise StorageError(action, given, error) from error


def _expanded(given: str, action: str) -> str:
    if not given.startswith("~"):
        return given
    found = os.path.expanduser(given)
    user = given[1:].replace(os.altsep or os.sep, os.sep).partition(os.sep)[0]
    if user and found == given:
        reason = f"there is no user {user} here: a directory of this name is ./{given}"
        raise StorageError(action, given, reason)
    # With an empty HOME, "~/x" would be "/x".
    if found == given or not os.path.isabs(found) or (not user and os.environ.get("HOME") == ""):
        reason = "no home directory is known: set HOME, or give the whole path"
        raise StorageError(action, given, reason)
    return found
