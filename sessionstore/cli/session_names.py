"""The ids in a store as the names of its directories: one listing, in a store of any size.

A name may be no id, and its directory may hold no session yet: whoever shows one looks first.
"""

from __future__ import annotations

import os
from bisect import bisect

from sessionstore.errors import StorageError

_COMPARED = 100
"""How many names on each side, by their beginnings and by their ends, are compared with another."""
_LIKE = 12
"""How many beginnings, ends and whole names are taken for alike."""


def sessions_directory(root: str | None) -> str:
    """Return the directory of the sessions of a store; no name where no store is named."""
    return "" if not root else os.path.join(os.path.expanduser(root), "sessions")


def session_names(root: str | None) -> list[str]:
    """Return the names in the directory of the sessions; none if there is no such directory.

    Raises:
        StorageError: the system refused.
    """
    directory = sessions_directory(root)
    try:
        # Only names: a look at each entry would take ten times as long.
        return os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError("list", directory, error) from error


def nearest_names(root: str | None, given: str) -> list[str]:
    """Return a few names that are like ``given``, or begin or end like it, best first.

    Raises:
        StorageError: the system refused.
    """
    from difflib import get_close_matches

    names = session_names(root)
    # Not all of them: to compare a hundred thousand takes seconds.
    near = _neighbours(sorted(names), given)
    near += [name[::-1] for name in _neighbours(sorted(name[::-1] for name in names), given[::-1])]
    length = len(given)
    forms = {form: name for name in near for form in (name[:length], name[-length:], name)}
    alike = get_close_matches(given, forms, n=_LIKE)
    return list(dict.fromkeys(forms[form] for form in alike))


def _neighbours(ordered: list[str], given: str) -> list[str]:
    place = bisect(ordered, given)
    return ordered[max(place - _COMPARED, 0) : place + _COMPARED]
