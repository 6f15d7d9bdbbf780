"""What people do with one session: look, explain, compare, fork, mark, and ask it to end.

The facade inherits these from here. Each method hands over to a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Literal

from sessionstore import clock
from sessionstore.errors import SessionStoreError
from sessionstore.model import StateT
from sessionstore.model.ids import check_id
from sessionstore.model.status import SessionStatus
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Usage

if TYPE_CHECKING:
    from sessionstore.operations.cancel import Cancellation
    from sessionstore.operations.diff import StateDiff
    from sessionstore.operations.explanation import Explanation
    from sessionstore.operations.fork import Fork
    from sessionstore.operations.history import History
    from sessionstore.storage.report import Progress


class SessionOperations(Generic[StateT]):
    """The methods of :class:`~sessionstore.SessionStore` that look after one session."""

    _backend: Backend
    _state_type: type[StateT]
    _clock: clock.Clock

    def usage(self, session_id: str) -> Usage:
        """Return what a session takes where it is kept, in bytes; a damaged one, too.

        Raises:
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        return self._backend.usage(check_id(session_id))

    def raw(self, session_id: str, checkpoint_id: str | None = None) -> bytes:
        """Return the stored bytes of a state, or of a checkpoint, whatever they say.

        For a look at what is damaged: nothing is decoded or checked.

        Raises:
            SessionNotFound, InvalidSessionId: there is no such session.
            SessionCorrupt: there are no bytes: the file is missing, or is none.
            StorageError: the system refused.
        """
        if checkpoint_id is None:
            return self._backend.read(check_id(session_id)).payload
        check_id(checkpoint_id, kind="checkpoint id")
        return self._backend.read_checkpoint(check_id(session_id), checkpoint_id).payload

    # --- one session: say how it ended, ask it to end -------------------------------------------

    def mark(
        self,
        session_id: str,
        status: Literal["failed", "cancelled", "paused"],
        *,
        reason: str,
        force: bool = False,
    ) -> int:
        """Say how a session ended that nobody holds; return its new revision.

        If it is ACTIVE, its process died: that goes on record in ``state.recovery``, as a sweep
        puts it there. Data, counters and checkpoints stay. ``reason`` becomes the error of the
        result.

        Args:
            session_id: which one.
            status: what it becomes.
            reason: why, in words; not empty.
            force: also mark one of which cannot be known whether its owner lives. One that is
                known to live is never marked: :meth:`cancel` asks it.

        Raises:
            SessionClaimed: a live process holds it, or one that may live; it is named.
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        from sessionstore.operations import mark as marking

        if status not in marking.CHOICES:
            raise ValueError(f"status is 'failed', 'cancelled' or 'paused', not {status!r}")
        if not reason.strip():
            raise ValueError("reason says why, in words")
        return marking.mark(
            self._backend, check_id(session_id), SessionStatus(status), reason=reason, force=force
        )

    def cancel(
        self, session_id: str, *, reason: str | None = None, timeout: float = 0.0
    ) -> Cancellation:
        """Cancel a session: ask the live process that holds it, or end one whose process died.

        The next ``save`` or ``checkpoint`` of the holder raises ``CancellationRequested``; if that
        leaves its ``with`` block, the session ends as cancelled. The request is for this very
        claim: one that pauses or ends otherwise first wins, and whoever holds the session next
        never meets it. A session that does not run (paused, failed, completed) is not touched:
        :meth:`mark` it, if you mean it.

        Args:
            session_id: which one.
            reason: why, in words; it becomes part of the error of the result.
            timeout: how many seconds to wait for the holder to end it; the request stays
                afterwards. Without waiting the outcome is ``requested`` where a process lives.

        Raises:
            SessionClaimed: its owner cannot be asked, or it cannot be known whether it lives.
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError.
        """
        from sessionstore.operations import cancel as cancelling

        return cancelling.cancel(
            self._backend, check_id(session_id), reason=reason, timeout=timeout
        )

    def cancel_all(
        self, session_ids: Iterable[str], *, reason: str | None = None, timeout: float = 0.0
    ) -> Iterator[tuple[str, Cancellation | SessionStoreError]]:
        """Cancel several sessions as :meth:`cancel` does; ask all before any is waited for.

        Yields each id with what became of it, or with the error that :meth:`cancel` would have
        raised, as that becomes known.

        Args:
            session_ids: which ones.
            reason: as for :meth:`cancel`.
            timeout: how many seconds to wait for all of them together.

        Raises:
            InvalidSessionId: one of them can be no id; nobody was asked.
        """
        from sessionstore.operations import cancel as cancelling

        chosen = [check_id(session_id) for session_id in session_ids]
        return cancelling.cancel_all(self._backend, chosen, reason=reason, timeout=timeout)

    # --- one session: what became of it, and what it was -----------------------------------------

    def explain(self, session_id: str) -> Explanation:
        """Tell who held a session, how it ended and how that is known, and what to do next.

        ``str()`` of it is for people, its fields are for programs. A damaged session is
        explained, too.

        Raises:
            SessionNotFound, InvalidSessionId, StorageError.
        """
        from sessionstore.operations import explain as explaining

        return explaining.explain(self._backend, check_id(session_id))

    def history(self, session_id: str) -> History:
        """Return the life of a session as it was kept: its beginning, checkpoints, and present.

        What is damaged is part of it. Reads every checkpoint.

        Raises:
            SessionNotFound, InvalidSessionId, StorageError.
        """
        from sessionstore.operations import history

        return history.history(self._backend, check_id(session_id))

    def find_checkpoint(self, session_id: str, named: str) -> str:
        """Return the id of the checkpoint that is named as for :meth:`diff`.

        Raises:
            CheckpointNotFound, InvalidQuery: it names none, or several.
            SessionNotFound, InvalidSessionId, SessionCorrupt, StorageError: they cannot be listed.
        """
        from sessionstore.operations import checkpoint_names

        return checkpoint_names.find_checkpoint(self._backend, check_id(session_id), named)

    def diff(
        self,
        session_id: str,
        a: str | None = None,
        b: str | None = None,
        *,
        everything: bool = False,
    ) -> StateDiff:
        """Return how two states of a session differ, value by value, each with its path.

        A state is named by the id of its checkpoint, the beginning of one, its revision (``r12``)
        as far as that was kept, or ``current``.

        Args:
            session_id: which one.
            a: the older state; by default the latest checkpoint, which a resume would restore.
            b: the newer state; by default the one that is stored now.
            everything: also compare what the store keeps account of itself: revision, owner,
                updated_at and the like.

        Raises:
            CheckpointNotFound, InvalidQuery: ``a`` or ``b`` names no state, or several.
            NotResumable: ``a`` is not given, and there is no latest checkpoint.
            SessionCorrupt: one of the two cannot be read.
            SessionNotFound, InvalidSessionId, StorageError.
        """
        from sessionstore.operations import diff as diffing

        return diffing.diff(self._backend, check_id(session_id), a, b, everything=everything)

    def fork(
        self, session_id: str, checkpoint_id: str | None = None, *, new_id: str | None = None
    ) -> str:
        """Begin a new session from a kept state of another one; return its id.

        The fork is paused, nobody holds it, and it has a checkpoint of its own, so that it can be
        resumed whatever becomes of its parent. Its revisions begin anew, under an incarnation of
        its own; result and recovery do not come along, nor do the application's files in the
        parent's directory. ``state.forked_from`` names the parent; :meth:`forks` finds the way
        back. The parent is not changed, and may be running.

        Args:
            session_id: the parent; a damaged one can be forked from a sound checkpoint.
            checkpoint_id: the state to begin with, named as for :meth:`diff`; by default the
                latest checkpoint.
            new_id: the id of the fork; by default one is made.

        Raises:
            NotResumable: no checkpoint is named, and there is no latest one.
            CheckpointNotFound, InvalidQuery: ``checkpoint_id`` names none, or several.
            SessionExists: there is one with this new id.
            SessionCorrupt: the checkpoint cannot be read.
            SessionNotFound, InvalidSessionId, StorageError.
        """
        from sessionstore.operations import fork as forking

        return forking.fork(
            self._backend, check_id(session_id), checkpoint_id=checkpoint_id, new_id=new_id
        )

    def forks(self, session_id: str, *, progress: Progress | None = None) -> list[Fork]:
        """Return the sessions that were forked from this one, oldest first.

        The forks record their parent, and the parent nothing: forking never has to wait for
        whoever runs it, and the parent may be gone. The index knows which ones they are; where
        there is none, every state is read.

        Args:
            session_id: the parent.
            progress: called with the number of forks that were looked at, and of those that are
                known so far.

        Raises:
            InvalidSessionId, StorageError: the store cannot be listed.
        """
        from sessionstore.operations import fork as forking

        return forking.forks(self._backend, check_id(session_id), progress)
