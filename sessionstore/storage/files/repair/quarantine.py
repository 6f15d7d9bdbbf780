"""Put what cannot be used, but may be data, aside: each thing with the reason beside it."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sessionstore import clock
from sessionstore.clock import Clock
from sessionstore.durable import replace
from sessionstore.durable.directory import Directory, Signature
from sessionstore.errors import DurabilityUncertain
from sessionstore.storage.files.checkpoint_file import linked
from sessionstore.storage.files.claim import FilesClaim
from sessionstore.storage.files.layout import STATE, Layout

QUARANTINE = "quarantine"
_SCHEMA = "sessionstore.quarantine/1"


class QuarantineEntry:
    """One place in quarantine, with the reason in it before anything else."""

    def __init__(self, layout: Layout, name: str, facts: dict[str, Any]) -> None:
        """Make ``quarantine/<name>.<hex>/`` and its reason.json, durably."""
        with Directory(layout.root) as root:
            with suppress(FileExistsError):
                root.make_directory(QUARANTINE)
                root.flush()
            self._room = Directory(QUARANTINE, root)
        self._entry = f"{name}.{secrets.token_hex(8)}"
        try:
            self._room.make_directory(self._entry)
            self.directory: Directory = Directory(self._entry, self._room)
        except BaseException:
            self._room.close()
            raise
        try:
            reason = json.dumps({"schema": _SCHEMA, **facts}, indent=2).encode() + b"\n"
            replace.write_file(self.directory, "reason.json", reason, flush_file=True)
            self.directory.flush()
            self._room.flush()
        except BaseException:
            self.discard()
            self.close()
            raise

    @property
    def path(self) -> str:
        """Where it is."""
        return self.directory.path

    def discard(self) -> None:
        """Remove it again: what was to be put here stays where it is."""
        with suppress(OSError):
            for name in self.directory.names():
                self.directory.unlink(name)
            os.rmdir(self._room.at(self._entry), dir_fd=self._room.fd)

    def close(self) -> None:
        """Close the descriptors."""
        self.directory.close()
        self._room.close()


@contextmanager
def quarantine_entry(
    layout: Layout, session_id: str | None, file: str, reason: str, now: Clock
) -> Iterator[QuarantineEntry]:
    """Yield a new place in quarantine; it is removed again if the block fails.

    The block puts one thing into it, as its last step that can fail before that thing is safe.
    """
    facts = {"session_id": session_id, "file": file, "reason": reason, "at": clock.to_text(now())}
    place = QuarantineEntry(layout, session_id or "unnamed", facts)
    try:
        yield place
    except BaseException:
        # Only the reason may be removed: whatever was put there already is data.
        with suppress(OSError):
            if place.directory.names() == ["reason.json"]:
                place.discard()
        raise
    finally:
        place.close()


def quarantine(
    layout: Layout,
    source: Directory,
    name: str,
    *,
    called: str,
    session_id: str | None,
    reason: str,
    now: Clock,
) -> str:
    """Move ``name`` of ``source`` into quarantine, where it is called ``called``; return where."""
    file = os.path.join(source.path, name)
    with quarantine_entry(layout, session_id, file, reason, now) as place:
        replace.move_new(source, name, place.directory, called)
        place.directory.flush()
        source.flush()
        return place.path


# --- a claimed session --------------------------------------------------------------------------


def restore(
    layout: Layout, claim: FilesClaim, payload: bytes, revision: int, reason: str, now: Clock
) -> str:
    """Replace a damaged or missing state, which goes into quarantine first; return where."""
    with claim._opened("repair") as directory:
        claim.name_live()
        try:
            status = directory.status(STATE)
        except FileNotFoundError:
            _write_state(claim, directory, payload)
            return ""
        found = Signature.of(status)
        if claim._expected not in (None, found):
            raise claim._conflict(directory, None)
        file = os.path.join(directory.path, STATE)
        with quarantine_entry(layout, claim.session_id, file, reason, now) as place:
            if stat.S_ISREG(status.st_mode) and linked(directory, STATE, place.directory, STATE):
                place.directory.flush()
                claim._expected = found
                _swap(claim, directory, payload, revision, place)
            else:
                # Meanwhile there is no state: a crash leaves one that is missing, not lost.
                replace.move_new(directory, STATE, place.directory, STATE)
                place.directory.flush()
                _write_state(claim, directory, payload)
            return place.path


def _swap(
    claim: FilesClaim, directory: Directory, payload: bytes, revision: int, place: QuarantineEntry
) -> None:
    try:
        claim.write(payload, revision)
    except DurabilityUncertain:
        raise
    except BaseException:
        # Still in its place: then what is in quarantine is only its second name.
        with suppress(OSError):
            kept = place.directory.status(STATE)
            if directory.status(STATE).st_ino == kept.st_ino:
                place.directory.unlink(STATE)
        raise


def _write_state(claim: FilesClaim, directory: Directory, payload: bytes) -> None:
    replace.write_new(directory, STATE, payload, flush_file=True)
    directory.flush()
    claim._expected = Signature.of(directory.status(STATE))


def put_checkpoint(
    layout: Layout, claim: FilesClaim, checkpoint_id: str | None, reason: str, now: Clock
) -> str:
    """Move a checkpoint, or what is in the place of all of them, into quarantine."""
    session_id = claim.session_id
    with claim._opened("repair") as directory:
        if checkpoint_id is None:
            source, name, called = directory, "checkpoints", "checkpoints"
            return quarantine(
                layout, source, name, called=called, session_id=session_id, reason=reason, now=now
            )
        with Directory("checkpoints", directory) as source:
            name, called = f"{checkpoint_id}.json", "checkpoint.json"
            return quarantine(
                layout, source, name, called=called, session_id=session_id, reason=reason, now=now
            )


def put_session(layout: Layout, claim: FilesClaim, reason: str, now: Clock) -> str:
    """Move a whole session into quarantine and end the claim."""
    session_id = claim.session_id
    file = layout.session(session_id)
    with (
        claim._opened("repair"),
        Directory(layout.sessions) as sessions,
        quarantine_entry(layout, session_id, file, reason, now) as place,
    ):
        with claim.leaving():
            replace.move_new(sessions, session_id, place.directory, "session")
        try:
            place.directory.flush()
            sessions.flush()
        except OSError as error:
            raise DurabilityUncertain(session_id, None, error) from error
        where = place.path
    claim._lock.remove_file()
    claim._end()
    return where
