"""Act on one session without claiming it for work: fork it, cancel it, mark it, let it be retried.

Each method is one file in :mod:`sessionstore.operations`, which it loads when it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from sessionstore.errors import SessionStoreError
from sessionstore.model.ids import check_id
from sessionstore.model.status import SessionStatus
from sessionstore.storage.backend import Backend

if TYPE_CHECKING:
    from sessionstore.operations.cancel import Cancellation
    from sessionstore.operations.fork import Fork
    from sessionstore.storage.report import Progress


class StoreActions:
    """The methods of :class:`~sessionstore.SessionStore` that act on one session."""

    _backend: Backend

    def fork(
        self, session_id: str, checkpoint_id: str | None = None, *, new_id: str | None = None
    ) -> str:
        """Begin a new session from a kept state of another one; return its id.

        The fork is paused, nobody holds it, and it has a checkpoint of its own, so that it can be
        resumed whatever becomes of its parent. Its revisions begin anew, under an incarnation of
        its own. Result and recovery do not come along, nor do the application's files in the
        parent's directory. ``state.forked_from`` names the parent; :meth:`forks` finds the way
        back. The parent is not changed, and may be running.

        Args:
            session_id: the parent; a damaged one can be forked from a sound checkpoint.
            checkpoint_id: the state to begin with, named as for :meth:`diff`; by default the one
                that a resume goes on from: the latest checkpoint or, if the application has kept
                none, the state that was saved last.
            new_id: the id of the fork; by default one is made.

        Raises:
            CheckpointNotFound: ``checkpoint_id`` names no checkpoint.
            InvalidQuery: ``checkpoint_id`` names several.
            SessionExists: there is a session with this new id.
            SessionCorrupt: the checkpoint cannot be read.
            SessionNotFound: there is no such session.
            InvalidSessionId: an id is not safe.
            StorageError: the system refused.

        Examples:
            >>> store.fork("ticket-1", "r2", new_id="ticket-1-again")
            'ticket-1-again'
        """
        from sessionstore.operations.fork import fork

        return fork(self._backend, check_id(session_id), checkpoint_id=checkpoint_id, new_id=new_id)

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
            InvalidSessionId: the id is not safe.
            StorageError: the store cannot be listed.

        Examples:
            >>> [fork.session_id for fork in store.forks("ticket-1")]
            []
        """
        from sessionstore.operations.fork import forks

        return forks(self._backend, check_id(session_id), progress)

    def cancel(
        self, session_id: str, *, reason: str | None = None, timeout: float = 0.0
    ) -> Cancellation:
        """Cancel a session: ask the live process that holds it, or end one that lost its process.

        The next ``save`` or ``checkpoint`` of the holder raises ``CancellationRequested``; if that
        leaves its ``with`` block, the session ends as cancelled. The request is for this very
        claim: a claim that pauses or ends otherwise first wins, and whoever holds the session
        next never meets the request. If the holder dies before it meets the request, whoever
        records its death marks the session as cancelled. A session that was interrupted, and that
        nobody has resumed yet, is cancelled at once. One that paused, failed or completed by
        itself is not touched: :meth:`mark` it, if you mean it.

        Args:
            session_id: which one.
            reason: why, in words; it becomes part of the error of the result.
            timeout: how many seconds to wait for the holder to end it; the request stays
                afterwards. Without waiting the outcome is ``requested`` where a process lives.

        Raises:
            SessionClaimed: its owner cannot be asked, or it cannot be known whether it lives.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state is damaged.
            StorageError: the system refused.

        Examples:
            >>> print(store.cancel("ticket-1", reason="the customer called it off").outcome)
            ended
        """
        from sessionstore.operations.cancel import cancel

        return cancel(self._backend, check_id(session_id), reason=reason, timeout=timeout)

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
            InvalidSessionId: one of them is not safe; nobody was asked.

        Examples:
            >>> for session_id, found in store.cancel_all(["ticket-1"], timeout=5.0):
            ...     print(session_id, found.outcome)
            ticket-1 ended
        """
        from sessionstore.operations.cancel import cancel_all

        chosen = [check_id(session_id) for session_id in session_ids]
        return cancel_all(self._backend, chosen, reason=reason, timeout=timeout)

    def mark(
        self,
        session_id: str,
        status: Literal["failed", "cancelled", "paused"],
        *,
        reason: str,
        force: bool = False,
    ) -> int:
        """Record how an unclaimed session ended; return its new revision.

        If it is ACTIVE, its process died: that goes on record in ``state.recovery``, as a sweep
        puts it there. Data, counters and checkpoints stay. ``reason`` becomes the error of the
        result.

        Args:
            session_id: which one.
            status: what it becomes.
            reason: why, in words; not empty.
            force: also mark a session whose owner may live, which cannot be known from here. A
                session whose owner is known to live is never marked: :meth:`cancel` asks it.

        Raises:
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state is damaged.
            StorageError: the system refused.

        Examples:
            >>> revision = store.mark("ticket-1", "failed", reason="nobody answered for a week")
        """
        from sessionstore.operations.mark import CHOICES, mark

        if status not in CHOICES:
            raise ValueError(f"status must be 'failed', 'cancelled' or 'paused', not {status!r}")
        if not reason.strip():
            raise ValueError("reason must not be empty: say why")
        return mark(
            self._backend, check_id(session_id), SessionStatus(status), reason=reason, force=force
        )

    def retry(
        self,
        session_id: str,
        *,
        checkpoint_id: str | None = None,
        from_last_save: bool = False,
        again: bool = False,
        force: bool = False,
    ) -> int:
        """Let the start-up loop try a session again; return its new revision.

        A session that FAILED, or was interrupted, is marked as interrupted, and its crashes and
        stops count from 0. So :meth:`SessionStore.resume_interrupted` offers it again, also after
        too many of them. The error of the result keeps what went wrong. If the session is ACTIVE
        and its process died, that goes on record first.

        The loop goes on from the latest checkpoint, as every resume does. ``checkpoint_id`` and
        ``from_last_save`` choose another state: it is restored at once, as :meth:`resume` does.

        Args:
            session_id: which one.
            checkpoint_id: the checkpoint to go on from, named as for :meth:`diff`.
            from_last_save: go on from the state that was saved last, though a checkpoint is there.
            again: also a session that is COMPLETED or CANCELLED, or that is PAUSED and waits.
            force: also if its owner may live, which cannot be known from here.

        Raises:
            SessionEnded: it is COMPLETED or CANCELLED, and ``again`` is not given.
            NotResumable: it is PAUSED, nothing has interrupted it, and ``again`` is not given; or
                the checkpoint to go on from is damaged or missing.
            CheckpointNotFound: ``checkpoint_id`` names no checkpoint.
            InvalidQuery: ``checkpoint_id`` names several.
            SessionClaimed: a process that lives, or may live, holds it; the error names it.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state is damaged.
            StorageError: the system refused.

        Examples:
            >>> revision = store.mark("ticket-1", "failed", reason="no connection")
            >>> revision = store.retry("ticket-1")
            >>> store.load("ticket-1").result.error
            'to be tried again after: no connection'
        """
        from sessionstore.operations.retry import retry

        return retry(
            self._backend,
            check_id(session_id),
            checkpoint_id=checkpoint_id,
            from_last_save=from_last_save,
            again=again,
            force=force,
        )
