"""The contract between the store, which orders the steps, and a backend, which does the storing.

A backend keeps bytes. What they mean (revisions, statuses, owners) is decided above; what is
peculiar to a place (paths, links, lock descriptors, connections) stays below. A backend proves
itself by passing :class:`sessionstore.testing.BackendContract`.

A backend returns parts that have contracts of their own: claim.py, importer.py and changes.py.
Values that cross the contract are in values.py and report.py; scan.py lists without an index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

from sessionstore.clock import Clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.query import Examine, SessionQuery
from sessionstore.model.stored import Stored
from sessionstore.model.summary import Matches, SessionSummary
from sessionstore.storage import scan
from sessionstore.storage.changes import ChangeNotifier, PollingNotifier
from sessionstore.storage.claim import Claim
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.values import (
    ApplicationFile,
    CancelRequest,
    CountsAndPages,
    Probe,
    Usage,
)

if TYPE_CHECKING:  # what most programs do without
    from sessionstore.model.state import SessionOwner
    from sessionstore.storage.report import Diagnosis, Finding


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

        - True: that claim's next cancellable write raises CancellationRequested, unless
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

    def notifier(self, session_ids: Collection[str] | None) -> ChangeNotifier:
        """Return what tells of changes of these sessions, or of all; see there."""
        del session_ids
        return PollingNotifier()

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

    def importer(self) -> SessionImporter:
        """Return a way in for whole sessions; see :class:`SessionImporter`."""
        raise StorageError("import into", self, "this store cannot take whole sessions in")

    def ending_many(self) -> AbstractContextManager[object]:
        """Return what is entered where many claims are going to end, one after the other.

        What a release tells those who list may wait until the block ends, where that saves work.
        No listing is wrong for it, whenever it is asked for.
        """
        return nullcontext()

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

    # --- listing: by reading every session, unless a place has something better ------------------

    def find(self, query: SessionQuery, examine: Examine, *, verify: bool = False) -> Matches:
        """Return the matches in order.

        - ``query.limit`` is the caller's affair.
        - ``examine`` costs I/O, so it is called while the matches are consumed, for those only.
        - With ``verify`` no index is believed without a look at every session.
        """
        del verify  # a scan reads each session anyway
        return scan.find(self, query, examine)

    def count(self, query: SessionQuery, examine: Examine) -> int:
        """Return how many sessions match."""
        return sum(1 for _ in self.find(query, examine))

    def select(self, query: SessionQuery) -> Iterator[SessionSummary]:
        """Yield the sessions whose states match, in any order.

        - A session matches as :meth:`SessionQuery.matches` says: nobody looks at checkpoints or
          owners.
        - Each is as true as if its state had been read since this was called.
        - ``query`` has no position to go on after, and its limit is the caller's affair.
        """
        return scan.select(self, query)

    def count_and_list(
        self, counted: Sequence[SessionQuery], listed: Sequence[SessionQuery]
    ) -> CountsAndPages:
        """Return how many match each of ``counted``, and the first ones of each of ``listed``.

        - A session matches as for :meth:`select`; of ``listed`` up to their limits.
        - The counts are all of one moment, unless sessions change while they are read.
        """
        return scan.count_and_list(self, counted, listed)

    def summary(self, session_id: str) -> SessionSummary | None:
        """Return the summary of a session from its state; None if the session is gone."""
        return scan.summary(self, session_id)
