"""Look at one session, and act on it without claiming it for work: explain, compare, fork, cancel.

Each method is one file in :mod:`sessionstore.operations`, which it loads when it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from sessionstore.errors import SessionStoreError
from sessionstore.model.ids import check_id, checkpoint_ids_in_order
from sessionstore.model.liveness import Liveness
from sessionstore.model.status import SessionStatus
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.operations.cancel import Cancellation
    from sessionstore.operations.diff import StateDiff
    from sessionstore.operations.explanation import Explanation
    from sessionstore.operations.fork import Fork
    from sessionstore.operations.history import History
    from sessionstore.storage.report import Progress


class StoreInspection:
    """The methods of :class:`~sessionstore.SessionStore` that look after one session."""

    _backend: Backend

    def exists(self, session_id: str) -> bool:
        """Return whether there is such a session, damaged or not.

        Raises:
            InvalidSessionId: the id is not safe.
            StorageError: the system refused.

        Examples:
            >>> store.exists("ticket-1")
            True
        """
        return self._backend.exists(check_id(session_id))

    def liveness(self, session_id: str) -> Liveness:
        """Return whether the process that holds the session lives, and how that is known.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state is damaged.
            StorageError: the system refused.

        Examples:
            >>> with store.claim("ticket-1"):
            ...     store.liveness("ticket-1").is_alive
            True
        """
        return inspect.look(self._backend, check_id(session_id))[1]

    def checkpoints(self, session_id: str) -> list[Checkpoint]:
        """Return the checkpoints of a session, oldest first, damaged ones included.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: something else is in the place of all checkpoints.
            StorageError: the system refused.

        Examples:
            >>> [item.checkpoint_type for item in store.checkpoints("ticket-1")]
            ['node_complete', 'pause']
        """
        return inspect.list_checkpoints(self._backend, check_id(session_id))

    def checkpoint_names(self, session_id: str) -> list[str]:
        """Return the ids of a session's checkpoints, oldest first, without reading any of them.

        The order is that of the revisions in the ids, then of the times in them. Ids that other
        software gave come first: they tell no revision. A damaged checkpoint is among them;
        :meth:`checkpoints` reads each one, and says so.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: something else is in the place of all checkpoints.
            StorageError: the system refused.

        Examples:
            >>> [name.split(".")[0] for name in store.checkpoint_names("ticket-1")]
            ['cp_node_complete', 'cp_pause']
        """
        return checkpoint_ids_in_order(self._backend.checkpoint_ids(check_id(session_id)))

    def directory(self, session_id: str) -> Path:
        """Return the directory of a session, for those who read the application's files in it.

        It looks at nothing: the path is the same before the session is created, and after it is
        deleted. Files that are put there before :meth:`create` stay, and belong to the session. A
        delete removes them with it. ``state.json`` and ``checkpoints/`` are the store's own.

        Raises:
            InvalidSessionId: the id is not safe.
            StorageError: the store keeps no files, as in memory.

        Examples:
            >>> store.directory("ticket-1").name
            'ticket-1'
        """
        return self._backend.directory(check_id(session_id))

    def explain(self, session_id: str) -> Explanation:
        """Tell who held a session, how it ended and how that is known, and what to do next.

        ``str()`` of it is for people, its fields are for programs. A damaged session is
        explained, too.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            StorageError: the system refused.

        Examples:
            >>> store.explain("ticket-1").summary
            'ticket-1 is paused; it can be resumed.'
        """
        from sessionstore.operations.explain import explain

        return explain(self._backend, check_id(session_id))

    def history(self, session_id: str) -> History:
        """Return the life of a session as it was kept: its beginning, checkpoints, and present.

        A damaged checkpoint is part of it. Reads every checkpoint.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            StorageError: the system refused.

        Examples:
            >>> for entry in store.history("ticket-1"):
            ...     print(entry.kind, entry.revision, entry.node)
            created 1 start
            checkpoint 2 classify
            checkpoint 3 ask
            present 3 ask
        """
        from sessionstore.operations.history import history

        return history(self._backend, check_id(session_id))

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
            CheckpointNotFound: ``a`` or ``b`` names no state.
            InvalidQuery: ``a`` or ``b`` names several states.
            NotResumable: ``a`` is not given, and there is no latest checkpoint.
            SessionCorrupt: one of the two cannot be read.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            StorageError: the system refused.

        Examples:
            >>> for change in store.diff("ticket-1", "r2", "r3"):
            ...     print(change.kind, change.path)
            changed status
            changed timestamps.paused_at_time
            changed progress.current_node
            changed progress.paused_at
        """
        from sessionstore.operations.diff import diff

        return diff(self._backend, check_id(session_id), a, b, everything=everything)

    def find_checkpoint(self, session_id: str, named: str) -> str:
        """Return the id of the checkpoint that is named as for :meth:`diff`.

        Raises:
            CheckpointNotFound: it names no checkpoint.
            InvalidQuery: it names several.
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: the checkpoints cannot be listed.
            StorageError: the system refused.

        Examples:
            >>> checkpoint_id = store.find_checkpoint("ticket-1", "r2")
        """
        from sessionstore.operations.checkpoint_names import find_checkpoint

        return find_checkpoint(self._backend, check_id(session_id), named)

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
            raise ValueError(f"status is 'failed', 'cancelled' or 'paused', not {status!r}")
        if not reason.strip():
            raise ValueError("reason says why, in words")
        return mark(
            self._backend, check_id(session_id), SessionStatus(status), reason=reason, force=force
        )

    def retry(self, session_id: str, *, force: bool = False) -> int:
        """Let the start-up loop try a session again; return its new revision.

        A session that FAILED, or was interrupted, is marked as interrupted, and its crashes and
        stops count from 0. So :meth:`SessionStore.resume_interrupted` offers it again, also after
        too many of them. The error of the result keeps what went wrong. If the session is ACTIVE
        and its process died, that goes on record first.

        Args:
            session_id: which one.
            force: also if its owner may live, which cannot be known from here.

        Raises:
            SessionEnded: it is COMPLETED or CANCELLED.
            NotResumable: it is PAUSED, and nothing has interrupted it: resume it.
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

        return retry(self._backend, check_id(session_id), force=force)

    def usage(self, session_id: str) -> Usage:
        """Return what a session takes where it is kept, in bytes; a damaged one, too.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: something else is in its place.
            StorageError: the system refused.

        Examples:
            >>> store.usage("ticket-1").checkpoints
            2
        """
        return self._backend.usage(check_id(session_id))

    def raw(self, session_id: str, checkpoint_id: str | None = None) -> bytes:
        """Return the stored bytes of a state, or of a checkpoint, whatever they say.

        It serves to look at what is damaged: nothing is decoded or checked.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id, or that of the checkpoint, is not safe.
            SessionCorrupt: there are no bytes: the file is missing, or is not a file.
            StorageError: the system refused.

        Examples:
            >>> store.raw("ticket-1")[:1]
            b'{'
        """
        if checkpoint_id is None:
            return self._backend.read(check_id(session_id)).payload
        check_id(checkpoint_id, kind="checkpoint id")
        return self._backend.read_checkpoint(check_id(session_id), checkpoint_id).payload
