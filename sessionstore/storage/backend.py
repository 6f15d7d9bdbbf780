"""The contract of a backend: a place that keeps sessions as bytes.

The store above decides what the bytes mean: revisions, statuses, owners. The backend hides what
only its place has: paths, links, lock descriptors, connections. A backend conforms if it passes
:class:`sessionstore.testing.BackendContract`.

A backend returns parts that have contracts of their own: claim.py, turn.py, importer.py and
changes.py. Values that cross the contract are in values.py and report.py; scan.py lists without an
index.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from sessionstore.clock import Clock
from sessionstore.errors import SessionCorrupt, SessionNotFound, StorageError
from sessionstore.model.journal import JournalRecord, Position, Rewind
from sessionstore.model.query import Examine, SessionQuery
from sessionstore.model.stored import Stored
from sessionstore.model.summary import Matches, SessionSummary, later_of
from sessionstore.process import identity
from sessionstore.storage import scan
from sessionstore.storage.changes import ChangeNotifier, PollingNotifier
from sessionstore.storage.claim import Claim
from sessionstore.storage.importer import SessionImporter
from sessionstore.storage.journal import NONE, Batch, Journals
from sessionstore.storage.turn import Turn
from sessionstore.storage.values import ApplicationFile, CancelRequest, CountsAndPages, Probe, Usage

if TYPE_CHECKING:  # most programs do not need these
    from pathlib import Path

    from sessionstore.model.journal_view import Item
    from sessionstore.model.state import SessionOwner
    from sessionstore.storage.report import Diagnosis, Finding


class Backend(ABC):
    """A place that keeps sessions. All methods may be called from several threads at once."""

    clock: Clock

    @abstractmethod
    def lock_is_proof(self, owner: SessionOwner) -> bool:
        """Return whether a free lock proves that ``owner`` does not hold it, wherever it runs.

        It proves nothing where several kernels serve the same sessions, or where ``owner`` may have
        taken its lock through another view of them.
        """

    def is_copy(self, owner: SessionOwner) -> bool:
        """Return whether ``owner`` claimed the session in a place that this one is a copy of.

        Only asked where the lock is proof.
        """
        del owner  # most places are not copied while they are used
        return False

    def new_owner(self, now: datetime) -> SessionOwner:
        """Return an owner record of this process, with a fresh token, for a claim in this place.

        It waits for nothing, so what it says of the place may be missing or old.
        """
        return identity.new_owner(now)

    def located(self, owner: SessionOwner) -> SessionOwner:
        """Return ``owner`` with what it says of this place brought up to date.

        Asked before a session is created, so that the first state can name it.

        Raises:
            StorageError: the place refused.
        """
        return owner

    @abstractmethod
    def __str__(self) -> str:
        """Return the name of this place in messages."""

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """Yield the id of every session, damaged ones included, in any order."""

    @abstractmethod
    def exists(self, session_id: str) -> bool:
        """Return whether the session exists, damaged or not."""

    @abstractmethod
    def read(self, session_id: str) -> Stored:
        """Return the stored state, without a lock: complete, and never older than one read before.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: its state cannot be read.
            StorageError: the place refused.
        """

    @abstractmethod
    def create(
        self, session_id: str, payload: bytes, owner: SessionOwner, *, journals: Journals = NONE
    ) -> Claim:
        """Create a session, claimed by ``owner``: it exists complete, or not at all.

        It has ``journals`` from the beginning, durably; their records keep their numbers.

        Raises:
            SessionExists: there is one with this id.
            SessionClaimed: another process is creating or deleting it, and takes long.
            StorageError: the place refused.
        """

    @abstractmethod
    def claim(
        self, session_id: str, owner: SessionOwner, *, timeout: float, turn: Turn | None = None
    ) -> Claim:
        """Claim a session, waiting at most ``timeout`` seconds; the session stays unchanged.

        - Who waits gets the session in the order of arrival.
        - A claim without a timeout is refused, too, where others wait for a session that is free
          for the moment.
        - With ``turn``, a place from :meth:`line_up`, the attempt does not wait. A backend that
          keeps no order is never given one.

        Raises:
            SessionNotFound: there is no such session; the attempt creates none.
            SessionClaimed: another claim holds it, in this process or another.
            StorageError: the place refused.
        """

    def line_up(self, session_id: str) -> Turn | None:
        """Return the last place in the line of those who wait for a session, to be closed.

        It is kept between attempts by those who wait without a thread. None: this backend keeps
        no order among them.
        """
        del session_id
        return None

    @abstractmethod
    def probe(self, session_id: str) -> Probe:
        """Return whether the session is claimed, without disturbing the claim."""

    def request_cancellation(self, session_id: str, request: CancelRequest) -> bool:
        """Ask the holder of the claim ``request.token`` to end; return whether it holds it still.

        - True: the next cancellable write of that claim raises CancellationRequested, unless the
          claim ends before.
        - False: that claim has ended; nothing is left of the request.
        - No other claim ever sees the request, which ends with its claim.
        - A second request replaces the first one, but keeps its reason if it has none itself.

        Raises:
            StorageError: the place refused, or knows no requests.
        """
        del request
        raise StorageError("ask the holder of", session_id, "this store has no cancel requests")

    def pending_request(self, session_id: str, token: str | None) -> CancelRequest | None:
        """Return the request that was made to the claim ``token`` and that nobody has heeded.

        It outlives the process of that claim, until whoever comes after has released the session,
        unless no claim of that place outlives its process. A place that knows no requests returns
        None.
        """
        del session_id, token
        return None

    @abstractmethod
    def checkpoint_ids(self, session_id: str) -> list[str]:
        """Return the ids of the checkpoints of a session, in any order; [] if there are none."""

    @abstractmethod
    def read_checkpoint(self, session_id: str, checkpoint_id: str) -> Stored:
        """Return a checkpoint.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: the checkpoint is missing or cannot be read.
            StorageError: the place refused.
        """

    def is_current(self, session_id: str, checkpoint_id: str) -> bool:
        """Return whether the checkpoint is known to hold the bytes of the stored state.

        False means "not known": the caller reads the checkpoint.
        """
        del session_id, checkpoint_id  # this place cannot tell
        return False

    @abstractmethod
    def journal_names(self, session_id: str) -> list[str]:
        """Return the names of the session's journals, sorted.

        Raises:
            SessionNotFound: there is no such session.
            StorageError: the place refused.
        """

    @abstractmethod
    def journal_rewinds(self, session_id: str, name: str) -> list[Rewind]:
        """Return the ways back that a journal holds. It costs less than to read the journal.

        It raises what :meth:`journal_names` raises.
        """

    @abstractmethod
    def read_journal(self, session_id: str, name: str, start: Position) -> Iterator[Batch]:
        """Yield the batches of a journal behind ``start``, which an earlier batch has ended at.

        It ends at what is not whole, or not there. A reader needs no lock; what it has seen
        stays.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: the journal is damaged behind the last batch that was yielded.
            StorageError: the place refused.
        """

    def last_appended_at(self, session_id: str) -> str | None:
        """Return the ISO 8601 time of the last append to any journal; None if there was none.

        What cannot be read counts as if it were not there.
        """
        last: str | None = None
        with suppress(SessionNotFound, SessionCorrupt, StorageError):
            for name in self.journal_names(session_id):
                for batch in self.read_journal(session_id, name, Position()):
                    for item in batch.items:
                        if isinstance(item, JournalRecord):
                            last = item.at if last is None else later_of(last, item.at)
        return last

    def usage(self, session_id: str) -> Usage:
        """Return the space that a session takes, damaged or not.

        Files that appear or vanish meanwhile may count or not.

        Raises:
            SessionNotFound: there is no such session.
            SessionCorrupt: it cannot be read.
            StorageError: it cannot be read.
        """
        state = len(self.read(session_id).payload)
        ids = self.checkpoint_ids(session_id)
        kept = self.freed_by(session_id, ids)
        names = self.journal_names(session_id)
        journals = 0
        for name in names:
            batches = self.read_journal(session_id, name, Position())
            journals += self.journal_bytes(batch.items for batch in batches)
        every = state + kept + journals
        return Usage(every, len(ids), kept, journals=len(names), journal_bytes=journals)

    def journal_bytes(self, batches: Iterable[Sequence[Item]]) -> int:
        """Return the space that a journal which holds ``batches`` takes."""
        from pydantic_core import to_json  # rarely needed

        return sum(
            len(to_json(item.value)) if isinstance(item, JournalRecord) else 1
            for batch in batches
            for item in batch
        )

    def freed_by(self, session_id: str, checkpoint_ids: Collection[str]) -> int:
        """Return how many bytes the removal of these checkpoints would free.

        A missing checkpoint counts 0.

        Raises:
            SessionNotFound: the session cannot be read.
            SessionCorrupt: the session cannot be read.
            StorageError: the session cannot be read.
        """
        there = set(self.checkpoint_ids(session_id))
        return sum(
            len(self.read_checkpoint(session_id, checkpoint_id).payload)
            for checkpoint_id in there.intersection(checkpoint_ids)
            if not self.is_current(session_id, checkpoint_id)
        )

    def flushes(self) -> str:
        """Return how many flushes make a save durable, and why; "" where that is no question."""
        return ""

    def diagnose(self) -> Sequence[Diagnosis]:
        """Test whether this place is fit for sessions; leave nothing behind."""
        return ()

    def version(self, session_id: str) -> Hashable | None:
        """Return a value that changes whenever the stored state does; None without a session.

        A damaged state has a version, too.
        """
        try:
            return self.read(session_id).payload
        except SessionNotFound:
            return None
        except SessionCorrupt as error:
            return error.reason

    def notifier(self, session_ids: Collection[str] | None) -> ChangeNotifier:
        """Return a notifier of changes of these sessions, or of all."""
        del session_ids
        return PollingNotifier()

    def directory(self, session_id: str) -> Path:
        """Return the directory that a session has, or will have; it looks at nothing.

        Raises:
            StorageError: this place keeps no files.
        """
        raise StorageError("find the directory of", session_id, "this store keeps no files")

    def application_files(self, session_id: str) -> Iterator[ApplicationFile]:
        """Yield what the application keeps beside the state, directories before their content.

        Raises:
            SessionNotFound: the session cannot be read.
            SessionCorrupt: the session cannot be read.
            StorageError: the session cannot be read.
        """
        del session_id  # most places keep no files
        return iter(())

    def open_application_file(self, session_id: str, name: str) -> BinaryIO:
        """Open a file of the application to read it; no link is followed.

        Raises:
            SessionNotFound: the session cannot be read.
            SessionCorrupt: the session cannot be read.
            StorageError: the file cannot be read; its cause is a FileNotFoundError if it is gone.
        """
        raise StorageError("read", f"{session_id}/{name}", "this store keeps no files")

    def importer(self) -> SessionImporter:
        """Return an importer of whole sessions."""
        raise StorageError("import into", self, "this store cannot import whole sessions")

    def tidy(self) -> int:
        """Remove what interrupted operations left behind; return how many files and directories."""
        return 0

    # --- check and repair ------------------------------------------------------------------------

    def claim_for_repair(self, session_id: str, owner: SessionOwner) -> Claim:
        """Claim a session as :meth:`claim` does, but leave left-over files as they are."""
        return self.claim(session_id, owner, timeout=0.0)

    def check_place(self, *, repair: bool) -> Iterator[Finding]:
        """Yield findings about everything but the sessions, repaired if ``repair`` is true.

        - A repair removes nothing that could be data, or that a live process uses.
        - A finding that cannot be repaired names the reason.
        - A session that cannot be claimed at all is a finding here: DAMAGED_STATE with its id.
        """
        del repair
        return iter(())

    def check_kept(self, session_id: str, claim: Claim | None, *, repair: bool) -> list[Finding]:
        """Return findings about the files of a session, apart from its states.

        ``repair`` also repairs them, which needs a claim. Without a claim, a file that a live
        holder is writing is no finding.

        Raises:
            SessionNotFound: the session cannot be read.
            SessionCorrupt: the session cannot be read.
            StorageError: the session cannot be read.
        """
        del session_id, claim, repair
        return []

    def restore(self, claim: Claim, payload: bytes, revision: int, reason: str) -> str:
        """Replace a damaged or missing state by ``payload`` of ``revision``.

        - The old state goes into quarantine first, with the reason: a crash loses nothing.
        - Only the state that this claim has read is replaced; otherwise nothing changes.
        - Returns the place of the old state in quarantine, or "" if there was none.

        Raises:
            RevisionConflict: somebody else changed the stored state, which was kept.
            ClaimLost: as for :meth:`Claim.write`.
            DurabilityUncertain: as for :meth:`Claim.write`.
            StorageError: as for :meth:`Claim.write`.
        """
        raise self._no_quarantine(claim, payload, revision, reason)

    def quarantine_checkpoint(self, claim: Claim, checkpoint_id: str | None, reason: str) -> str:
        """Put a checkpoint into quarantine, with the reason; return its place there.

        None means whatever stands in the place of all checkpoints of the session.

        Raises:
            ClaimLost: nothing was changed.
            StorageError: nothing was changed.
        """
        raise self._no_quarantine(claim, checkpoint_id, reason)

    def quarantine_session(self, claim: Claim, reason: str) -> str:
        """Put a whole session into quarantine, with the reason; end the claim.

        The session is whole, in its place or in quarantine, also after a crash. Returns its place
        in quarantine.

        Raises:
            ClaimLost: as for :meth:`Claim.delete`.
            DurabilityUncertain: as for :meth:`Claim.delete`.
            StorageError: as for :meth:`Claim.delete`.
        """
        raise self._no_quarantine(claim, reason)

    def _no_quarantine(self, claim: Claim, *_: object) -> StorageError:
        return StorageError("repair", claim.session_id, "this store has no quarantine")

    def close(self) -> None:  # noqa: B027 - most places hold no resources
        """Release resources; claims are not affected."""

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
