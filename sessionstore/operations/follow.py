"""Follow a journal: every record that is appended, until its session has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sessionstore.errors import SessionNotFound
from sessionstore.model.journal import JournalRecord
from sessionstore.session.journal_reader import open_reader
from sessionstore.storage.backend import Backend

_POLL = 1.0
"""The longest wait in seconds, so that Ctrl-C works everywhere."""
_TRUST = 10
"""With events, the time between two looks that no event asked for is this many times longer."""


def follow_journal(
    backend: Backend, session_id: str, name: str, after: int = 0
) -> Iterator[JournalRecord]:
    """Yield the records behind the number ``after``, and each later one as it is appended.

    It ends when the session is completed, cancelled or deleted. The last records come first.

    Raises:
        SessionNotFound: there is no such session when it begins.
        SessionCorrupt: the state or the journal is damaged.
        StorageError: the system refused.
    """
    reader = open_reader(backend, session_id, name)
    begun = False
    with backend.notifier([session_id]) as notifier:
        while True:
            try:
                # The status comes first, so that no record before the end is missed.
                summary = backend.summary(session_id)
                for record in reader.records(after):
                    yield record
                    after = record.number
            except SessionNotFound:
                if not begun:
                    raise
                return
            if summary is None or summary.is_finished:
                return
            begun = True
            next_look = time.monotonic() + _POLL * (_TRUST if notifier.is_listening else 1)
            told = False
            while not told and time.monotonic() < next_look:
                named = notifier.wait(_POLL)
                told = named is None or session_id in named
