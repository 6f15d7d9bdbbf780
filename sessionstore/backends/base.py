"""The contract between the store, which orders the steps, and a backend, which does the storing.

A backend keeps bytes. What they mean (revisions, statuses, owners) is decided above; what is
peculiar to a place (paths, links, lock descriptors, connections) stays below. A backend proves
itself by passing :class:`sessionstore.testing.BackendContract`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from sessionstore import codec
from sessionstore.clock import Clock
from sessionstore.diagnosis import Diagnosis
from sessionstore.errors import (
    CancellationRequested,
    SessionCorrupt,
    SessionNotFound,
    StorageError,
)
from sessionstore.findings import Finding
from sessionstore.query import Examine, Matches, SessionQuery, SessionSummary, summarize
from sessionstore.state import SessionOwner, SessionState


class Stored(NamedTuple):
    """Bytes as they are kept, and the place to name when they turn out to be damaged."""

    payload: bytes
    file: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether somebody holds the claim on a session right now."""

    held: bool
    holder: SessionOwner | None = None
    """Who holds it, or held it last, as far as that was recorded."""
    released: bool = False
    """Whether ``holder`` is known to have given it back."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session takes where it is kept, in bytes; what several names share counts once."""

    bytes: int
    """All of it: state, checkpoints, the application's files, directories."""
    checkpoints: int = 0
    """How many checkpoints there are."""
    checkpoint_bytes: int = 0
    """What the checkpoints take beside the state: one that shares its bytes takes none."""
    application_bytes: int = 0
    """What the application's own files take."""
    shared_bytes: int = 0
    """What would stay if the session were deleted: files that have names elsewhere, too."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """What somebody asks of the holder of one claim, which ``token`` names."""

    token: str
    reason: str | None = None
    at: str = ""
    by: SessionOwner | None = None

    def to_error(self, session_id: str) -> CancellationRequested:
        """Return what the holder's next save raises."""
        return CancellationRequested(session_id, self.reason, requested_at=self.at, by=self.by)


@dataclass(frozen=True, slots=True)
class ApplicationFile:
    """What an application keeps beside a state: a file, a directory, or something else."""

    name: str
    """Below the session, with ``/`` between the names."""
    is_directory: bool = False
    is_executable: bool = False
    mtime: int = 0
    """When it was last changed, in seconds since 1970."""
    omitted: str | None = None
    """Why it is not to be read (a link, a socket), or None."""


class Intake(ABC):
    """Sessions on their way in: built aside, out of everybody's sight, until they are adopted.

    Left with :meth:`close`, or by the death of the process, what was not adopted is gone. Names
    were checked: they are relative, without ``..``, and no two are the same.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def put_state(self, session_id: str, payload: bytes) -> None:
        """Take the state of a session."""

    @abstractmethod
    def put_checkpoint(self, session_id: str, checkpoint_id: str, payload: bytes) -> None:
        """Take a checkpoint."""

    @abstractmethod
    def put_file(
        self, session_id: str, name: str, pieces: Iterable[bytes], *, is_executable: bool
    ) -> None:
        """Take a file of the application.

        Raises:
            StorageError: the place refused, or keeps no files.
        """

    @abstractmethod
    def put_directory(self, session_id: str, name: str) -> None:
        """Take a directory of the application, which may be there already."""

    @abstractmethod
    def adopt(self, session_id: str) -> None:
        """Make a session visible, durably: it is there complete, or not at all.

        Raises:
            SessionExists: there is one with this id; it is not touched.
            SessionClaimed: somebody is making or deleting it.
            StorageError: the place refused.
        """

    @abstractmethod
    def close(self) -> None:
        """Throw away what was not adopted; safe to call twice."""


class Alarm(ABC):
    """Tells where to look for changes. It may tell too much or miss some, so look anyway."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def is_armed(self) -> bool:
        """Whether changes are told as they happen; else only looking finds them."""

    @abstractmethod
    def wait(self, seconds: float) -> Collection[str] | None:
        """Return the ids of sessions that may have changed, at the latest after ``seconds``.

        Empty: it was told of none. None: any may have, as after the first call, which may be
        what makes it listen. What changes after a call is told by a later one.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds; safe to call twice."""


class Patience(Alarm):
    """The alarm of a place that tells nothing: only time passes."""

    @property
    def is_armed(self) -> bool:
        return False

    def wait(self, seconds: float) -> Collection[str] | None:
        time.sleep(seconds)
        return ()

    def close(self) -> None:
        pass


class Claim(ABC):
    """The right to write one session. It ends with :meth:`release`, or with the process.

    A claim is used by one thread at a time: the session above it queues its saves.
    """

    def __init__(
        self, session_id: str, owner: SessionOwner, previous_owner: SessionOwner | None
    ) -> None:
        self.session_id: str = session_id
        self.owner: SessionOwner = owner
        self.previous_owner: SessionOwner | None = previous_owner
        """Who held the session before, as far as that was recorded."""

    @property
    def directory(self) -> Path:
        """Where the application may keep files beside the state.

        Raises:
            StorageError: this backend has no directories.
        """
        raise StorageError("find the directory of", self.session_id, "this store keeps no files")

    @abstractmethod
    def read(self) -> Stored:
        """Return the stored state; the first read sets what the first write replaces.

        Raises:
            RevisionConflict: it is not what this claim read or wrote last.
            ClaimLost, SessionCorrupt, StorageError: it cannot be read.
        """

    @abstractmethod
    def write(
        self,
        payload: bytes,
        revision: int,
        *,
        checkpoint_id: str | None = None,
        heeds_requests: bool = False,
    ) -> None:
        """Replace the stored state by ``payload``, which is of ``revision``.

        - A reader sees the old bytes or the new, never a mix.
        - What is replaced is what this claim read or wrote last; else nothing changes.
        - On return the new state survives the death of the process, and as much more as the
          durability of the store says.
        - With ``checkpoint_id`` the same bytes are kept under that name too, durably, before
          the state that refers to it can be seen.
        - After any other exception than DurabilityUncertain nothing has changed, except where
          it came from outside (KeyboardInterrupt): then ask :meth:`took_effect`.
        - With ``heeds_requests`` it is refused, each time, once somebody has asked this very
          claim to end; a request to another claim on the session, before or after, is nothing
          to it. Looking for one costs next to nothing.

        Raises:
            CancellationRequested: see above; nothing was changed.
            ClaimLost: this claim no longer gives the right to write.
            RevisionConflict: the stored state was changed by somebody else; it was kept.
            DurabilityUncertain: the new state is visible, but may not survive a power loss.
            StorageError: the place refused.
        """

    @abstractmethod
    def took_effect(self, revision: int) -> bool:
        """Return whether the write of ``revision``, which was interrupted, took place after all.

        Asked before the next write only.
        """

    @abstractmethod
    def keep_current(self, checkpoint_id: str) -> None:
        """Keep the state as it is stored now as a checkpoint, durably.

        Raises:
            ClaimLost, RevisionConflict, StorageError: as for :meth:`write`.
        """

    @abstractmethod
    def checkpoint_ids(self) -> list[str]:
        """Return the ids of the session's checkpoints, in any order."""

    @abstractmethod
    def remove_checkpoint(self, checkpoint_id: str) -> None:
        """Remove a checkpoint; one that is not there is no error."""

    @abstractmethod
    def delete(self) -> None:
        """Delete the session and end the claim.

        The session is there, complete, or it is gone, also after a crash.
        """

    def confirm(self) -> None:  # noqa: B027 - nothing to do where refusals name nobody wrongly
        """Say that the claim stands: the state allows it. A claim that ends without was a look.

        Those who are refused meanwhile are told who holds the session, not who looked at it.
        """

    @abstractmethod
    def release(self, summary: SessionSummary | None = None) -> None:
        """End the claim; safe to call twice, and after a fork, where it ends nothing.

        ``summary`` is that of the state that this claim wrote last, where it is at hand: a place
        that keeps an index need not read it again.
        """


class Backend(ABC):
    """A place that keeps sessions. All methods may be called from several threads at once."""

    clock: Clock

    @property
    @abstractmethod
    def lock_is_proof(self) -> bool:
        """Whether a session that nobody holds is certain to have no live owner, on any host."""

    @abstractmethod
    def __str__(self) -> str:
        """Return what to call this place in messages."""

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """Yield the id of every session, damaged ones included, in any order."""

    @abstractmethod
    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, damaged or not."""

    @abstractmethod
    def read(self, session_id: str) -> Stored:
        """Return the stored state, without a lock: complete, and never an older one again.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: there is, but its state cannot be read.
            StorageError: the place refused.
        """

    @abstractmethod
    def create(self, session_id: str, payload: bytes, owner: SessionOwner) -> Claim:
        """Create a session, claimed by ``owner``: it is there complete, or not at all.

        Raises:
            SessionExists: there is one with this id.
            SessionClaimed: somebody is making or deleting it, and takes long.
            StorageError: the place refused.
        """

    @abstractmethod
    def claim(self, session_id: str, owner: SessionOwner, *, timeout: float) -> Claim:
        """Claim a session, waiting at most ``timeout`` seconds; it is not changed.

        Raises:
            SessionNotFound: there is no such session; none appears because of the attempt.
            SessionClaimed: another claim holds it, in this process or another.
            StorageError: the place refused.
        """

    @abstractmethod
    def probe(self, session_id: str) -> Probe:
        """Return whether the session is claimed, without disturbing the claim."""

    def request_cancellation(self, session_id: str, request: CancelRequest) -> bool:
        """Ask the claim of ``request.token`` to end; return whether it stands, so may heed it.

        - True: that claim's next write that heeds requests raises CancellationRequested, unless
          the claim ends before it comes to that.
        - False: that claim has ended; nothing is left of the request.
        - No other claim ever sees it. It ends with its claim. Asking again replaces it, but
          for its reason where none is given.

        Raises:
            StorageError: the place refused, or passes on no requests.
        """
        del request
        raise StorageError("ask the holder of", session_id, "this store passes on no requests")

    @abstractmethod
    def checkpoint_ids(self, session_id: str) -> list[str]:
        """Return the ids of the checkpoints of a session, in any order; [] if there are none."""

    @abstractmethod
    def read_checkpoint(self, session_id: str, checkpoint_id: str) -> Stored:
        """Return a checkpoint.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: it is missing or cannot be read.
            StorageError: the place refused.
        """

    def is_current(self, session_id: str, checkpoint_id: str) -> bool:
        """Return whether the checkpoint is known to hold the very bytes of the stored state.

        False costs a read; True saves one.
        """
        del session_id, checkpoint_id  # a place that cannot tell has no use for them
        return False

    def usage(self, session_id: str) -> Usage:
        """Return what a session takes, damaged or not.

        What comes or goes while it is counted may be counted or not.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt, StorageError: it cannot be looked at.
        """
        state = len(self.read(session_id).payload)
        ids = self.checkpoint_ids(session_id)
        kept = self.freed_by(session_id, ids)
        return Usage(state + kept, len(ids), kept)

    def freed_by(self, session_id: str, checkpoint_ids: Collection[str]) -> int:
        """Return how many bytes would be free again without these checkpoints.

        One that is missing counts nothing.

        Raises:
            SessionNotFound, SessionCorrupt, StorageError: it cannot be looked at.
        """
        there = set(self.checkpoint_ids(session_id))
        return sum(
            len(self.read_checkpoint(session_id, checkpoint_id).payload)
            for checkpoint_id in there.intersection(checkpoint_ids)
            if not self.is_current(session_id, checkpoint_id)
        )

    def diagnose(self) -> Sequence[Diagnosis]:
        """Try whether this place is fit for sessions; leave nothing behind."""
        return ()

    def version(self, session_id: str) -> Hashable | None:
        """Return what is another whenever the stored state is; None if there is no session.

        It need not be read, or be readable.
        """
        try:
            return self.read(session_id).payload
        except SessionNotFound:
            return None
        except SessionCorrupt as error:
            return error.reason

    def alarm(self, session_ids: Collection[str] | None) -> Alarm:
        """Return what tells of changes of these sessions, or of all; see :class:`Alarm`."""
        del session_ids
        return Patience()

    def application_files(self, session_id: str) -> Iterator[ApplicationFile]:
        """Yield what the application keeps beside the state, directories before their content.

        Raises:
            SessionNotFound, SessionCorrupt, StorageError: it cannot be looked at.
        """
        del session_id  # most places keep none
        return iter(())

    def open_application_file(self, session_id: str, name: str) -> BinaryIO:
        """Open a file of the application to read it; no link is followed.

        Raises:
            SessionNotFound, SessionCorrupt: the session cannot be read.
            StorageError: the file cannot; caused by a FileNotFoundError if it is gone.
        """
        raise StorageError("read", f"{session_id}/{name}", "this store keeps no files")

    def receive(self) -> Intake:
        """Return a way in for whole sessions; see :class:`Intake`."""
        raise StorageError("import into", self, "this store cannot take whole sessions in")

    def tidy(self) -> int:
        """Remove what interrupted operations left behind; return how many things."""
        return 0

    # --- the check-up ----------------------------------------------------------------------------

    def claim_for_repair(self, session_id: str, owner: SessionOwner) -> Claim:
        """Claim a session as :meth:`claim` does, and leave what was left half done as it is."""
        return self.claim(session_id, owner, timeout=0.0)

    def check_place(self, *, repair: bool) -> Iterator[Finding]:
        """Yield what is wrong around the sessions, mended if ``repair`` is true.

        - Nothing is removed that could be data, or that a live process uses.
        - What cannot be mended is yielded all the same, with the reason.
        - A session that cannot even be claimed is a finding here: DAMAGED_STATE with its id.
        """
        del repair
        return iter(())

    def check_kept(self, session_id: str, claim: Claim | None, *, repair: bool) -> list[Finding]:
        """Return what is wrong with how a session is kept, apart from its states.

        It is mended if ``repair`` is true, which needs a claim. Without one, what a live holder
        is writing right now is no finding.

        Raises:
            SessionNotFound, SessionCorrupt, StorageError: it cannot be looked at.
        """
        del session_id, claim, repair
        return []

    def restore(self, claim: Claim, payload: bytes, revision: int, reason: str) -> str:
        """Replace a state that cannot be read, or is missing, by ``payload`` of ``revision``.

        - What is replaced is put into quarantine first, with the reason: a crash loses nothing.
        - What this claim has read is what is replaced; else nothing changes.
        - Returns where the old state lies now, or "" if there was none.

        Raises:
            RevisionConflict: the stored state was changed by somebody else; it was kept.
            ClaimLost, DurabilityUncertain, StorageError: as for :meth:`Claim.write`.
        """
        raise self._no_quarantine(claim, payload, revision, reason)

    def quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        """Put a checkpoint into quarantine, with the reason; return where it lies now.

        None is whatever stands in the place where all checkpoints of the session should be.

        Raises:
            ClaimLost, StorageError: nothing was changed.
        """
        raise self._no_quarantine(claim, checkpoint_id, reason)

    def quarantine_session(self, claim: Claim, reason: str) -> str:
        """Put a whole session into quarantine, with the reason, and end the claim.

        It is there whole or in quarantine whole, also after a crash. Returns where it lies now.

        Raises:
            ClaimLost, DurabilityUncertain, StorageError: as for :meth:`Claim.delete`.
        """
        raise self._no_quarantine(claim, reason)

    def _no_quarantine(self, claim: Claim, *_: object) -> StorageError:
        return StorageError("repair", claim.session_id, "this store cannot put things aside")

    def close(self) -> None:  # noqa: B027 - most places have nothing to let go of
        """Let go of resources; claims are not affected."""

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool = False) -> Matches:
        """Return the matches in order.

        - ``query.limit`` is the caller's affair.
        - ``examine`` costs I/O, so it is called while the matches are consumed, for those only.
        - ``verify`` says to believe no index without a look at every session.
        """
        del verify  # each is read anyway
        return self.scan(query, examine)

    def count(self, query: SessionQuery, examine: Examine) -> int:
        """Return how many sessions match."""
        return sum(1 for _ in self.find(query, examine))

    def scan(self, query: SessionQuery, examine: Examine) -> Matches:
        """Return what :meth:`find` returns, by reading every session."""
        matching: list[SessionSummary] = []
        damaged = 0
        for item in self._scan(query.id_prefix):
            if query.matches(item):
                matching.append(item)
            elif item.damaged is not None and query.damaged is None:
                damaged += 1
        return Matches(_examined(query.sort(matching), query, examine), damaged)

    def _scan(self, id_prefix: str | None) -> Iterator[SessionSummary]:
        for session_id in self.ids():
            if id_prefix is not None and not session_id.startswith(id_prefix):
                continue
            item = self.summary(session_id)
            if item is not None:
                yield item

    def summary(self, session_id: str) -> SessionSummary | None:
        """Return the summary of a session as its state tells it; None if it is gone."""
        try:
            stored = self.read(session_id)
            return summarize(codec.decode(stored.payload, SessionState, session_id, stored.file))
        except SessionNotFound:
            return None
        except SessionCorrupt as error:
            return SessionSummary(session_id, damaged=error.reason)
        except StorageError as error:
            return SessionSummary(session_id, damaged=str(error))


def _examined(
    items: Iterable[SessionSummary], query: SessionQuery, examine: Examine
) -> Iterator[SessionSummary]:
    for item in items:
        seen = examine(item) if item.damaged is None else item
        if query.finally_matches(seen):
            yield seen
