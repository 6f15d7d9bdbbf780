"""Temporary files that an interrupted write left in a session, and which of them may be data.

A holder that died before its swap leaves a save that it never reported as done. One that died
between the exchange and the swap back leaves what it displaced: the state before, or one that
other software had put there without a claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.errors import SessionCorrupt
from sessionstore.storage.files import last_word, state_file
from sessionstore.storage.files.layout import JOURNALS, STATE
from sessionstore.storage.files.lock import HeldLock


class Leftover(NamedTuple):
    """A temporary file in a session's directory, or in its ``checkpoints/``."""

    place: Directory
    name: str
    holds: str | None
    """Why it may be data that is nowhere else; None if it cannot be."""
    is_later: bool = False
    """Whether it is a later save of this session than the stored one: nobody was told that it is
    done, or a power cut took it from state.json."""


def find(directory: Directory, place: Directory, session_id: str) -> Iterator[Leftover]:
    """Yield the left-over files of ``place``, which is ``directory`` or its ``checkpoints/``.

    No live process may be writing there: the caller has the claim, or nobody has.
    """
    for name in sorted(filter(replace.is_temporary, place.names())):
        try:
            yield _judge(directory, place, name, session_id)
        except FileNotFoundError:
            continue  # somebody else removed it
        except OSError as error:
            yield Leftover(place, name, f"it cannot be read ({error.strerror})")


def clear(path: str, session_id: str, lock: HeldLock, *, trusts_word: bool) -> bool:
    """Remove what is no data from a session whose lock is held; return whether nothing is left.

    With ``trusts_word`` there is no look where the last holder said that it left in order.
    """
    if trusts_word and last_word.counts(lock.last_word, path, lock.identity):
        return True
    return remove(path, session_id)


def remove(path: str, session_id: str) -> bool:
    """Remove what is no data from the session's directory ``path``, whose claim is held.

    A later save goes, too: its writer may only be slow, and must find nothing to swap in once
    another has the claim. Everything else that may be data waits for a check of the store.

    Returns whether nothing is left.
    """
    try:
        with Directory(path) as directory:
            is_empty = _remove_from(directory, directory, session_id)
            with suppress(FileNotFoundError), Directory("checkpoints", directory) as checkpoints:
                is_empty = _remove_from(directory, checkpoints, session_id) and is_empty
            with suppress(FileNotFoundError), Directory(JOURNALS, directory) as journals:
                for name in filter(replace.is_temporary, journals.names()):
                    journals.unlink(name)  # a copy of a journal, whose original is in its place
                # The last holder may have died with a new file in place, and its name not flushed.
                journals.flush()
            return is_empty
    except OSError:
        return False


def _remove_from(directory: Directory, place: Directory, session_id: str) -> bool:
    is_empty = True
    for item in find(directory, place, session_id):
        if item.holds is None or item.is_later:
            try:
                place.unlink(item.name)
            except OSError:
                is_empty = False
        else:
            is_empty = False
    return is_empty


def _judge(directory: Directory, place: Directory, name: str, session_id: str) -> Leftover:
    """Return what a temporary file may be: in doubt it is data.

    Raises:
        OSError: it cannot be read.
    """
    from sessionstore.model import codec, mending  # rarely needed, and slow to load
    from sessionstore.model.state import SessionState

    leftover = partial(Leftover, place, name)
    try:
        payload, written = state_file.read(place, name, session_id)
    except SessionCorrupt:
        return leftover("it is not a regular file")
    try:
        mending.parse(payload)
    except ValueError:
        return leftover(None)  # torn: the write never came to its end
    try:
        left = codec.decode(payload, SessionState, session_id, name)
    except SessionCorrupt:
        return leftover("it holds JSON that is not a sound state")
    try:
        stored_payload, replaced = state_file.read(directory, STATE, session_id)
        stored = codec.decode(stored_payload, SessionState, session_id, STATE)
    except (SessionCorrupt, OSError):
        damage = "and state.json is damaged"
        return leftover(f"it holds a whole state of revision {left.revision}, {damage}")
    if payload == stored_payload:
        return leftover(None)
    is_same = left.incarnation == stored.incarnation
    is_later = is_same and left.revision > stored.revision
    if left.incarnation is None or not is_same:
        return leftover(f"it holds another state, of revision {left.revision}", is_later)
    if left.revision >= stored.revision or written.mtime_ns > replaced.mtime_ns:
        revisions = f"of revision {left.revision}; stored is {stored.revision}"
        return leftover(f"it holds a state {revisions}", is_later)
    return leftover(None)  # the stored state replaced it
