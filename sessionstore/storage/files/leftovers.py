"""What a holder that died left half written, removed by whoever claims the session next."""

from __future__ import annotations

from contextlib import suppress

from sessionstore.durable import replace
from sessionstore.durable.directory import Directory
from sessionstore.errors import SessionCorrupt
from sessionstore.storage.files import state_file
from sessionstore.storage.files.layout import STATE


def remove(path: str, session_id: str) -> int:
    """Remove what is left half written in the session's directory ``path``; return how many files.

    Under the lock every temporary file is garbage, but for one that may be somebody else's.
    """
    removed = 0
    with suppress(OSError), Directory(path) as directory:
        for name in _temporaries(directory):
            with suppress(OSError, SessionCorrupt):
                if not _may_be_foreign(directory, name, session_id):
                    directory.unlink(name)
                    removed += 1
        with Directory("checkpoints", directory) as checkpoints:
            for name in _temporaries(checkpoints):
                with suppress(OSError):
                    checkpoints.unlink(name)
                    removed += 1
    return removed


def _may_be_foreign(directory: Directory, name: str, session_id: str) -> bool:
    """Return whether a left-over file may be what somebody else wrote without a claim.

    A holder that died between the exchange and the swap back leaves such a state behind: it
    is no newer by revision, but was written after ours. The check-up puts it into quarantine.
    """
    from sessionstore.model import codec  # rarely needed, and it loads pydantic

    left, left_signature = state_file.read(directory, name, session_id)
    stored, signature = state_file.read(directory, STATE, session_id)
    revision, current = codec.peek_revision(left), codec.peek_revision(stored)
    if revision is None or current is None or left == stored:
        return False
    return revision <= current and left_signature.mtime_ns > signature.mtime_ns


def _temporaries(directory: Directory) -> list[str]:
    return [name for name in directory.names() if name.startswith(replace.TEMPORARY_PREFIX)]
