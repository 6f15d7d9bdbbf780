"""Look at one session without claiming it: explain it, compare its states, measure it.

Each method is one file in :mod:`sessionstore.operations`, which it loads when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessionstore.model.ids import check_id, checkpoint_ids_in_order
from sessionstore.model.liveness import Liveness
from sessionstore.session import inspect
from sessionstore.storage.backend import Backend
from sessionstore.storage.values import Usage

if TYPE_CHECKING:
    from pathlib import Path

    from sessionstore.model.checkpoint import Checkpoint
    from sessionstore.model.step import StepInfo
    from sessionstore.operations.diff import StateDiff
    from sessionstore.operations.explanation import Explanation
    from sessionstore.operations.history import History
    from sessionstore.session.journal import JournalView


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

    def journal(self, session_id: str, name: str = "main") -> JournalView:
        """Return a journal of a session, to read without a lock; nothing is read yet.

        Raises:
            InvalidSessionId: the id or the name is not safe.

        Examples:
            >>> [record.value["role"] for record in store.journal("ticket-1", "messages")]
            ['user', 'assistant']
        """
        from sessionstore.session.journal import JournalView
        from sessionstore.session.journal_reader import open_reader

        return JournalView(session_id, name, open_reader(self._backend, session_id, name))

    def journals(self, session_id: str) -> list[JournalView]:
        """Return the journals of a session, by name.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            StorageError: the system refused.

        Examples:
            >>> {journal.name: journal.count() for journal in store.journals("ticket-1")}
            {'messages': 2, 'steps': 3}
        """
        names = self._backend.journal_names(check_id(session_id))
        return [self.journal(session_id, name) for name in names]

    def steps(self, session_id: str) -> list[StepInfo]:
        """Return the steps of a session, oldest first, closed ones included; without a lock.

        Raises:
            SessionNotFound: there is no such session.
            InvalidSessionId: the id is not safe.
            SessionCorrupt: its state, or the journal of its steps, is damaged.
            StorageError: the system refused.

        Examples:
            >>> [(step.name, str(step.status)) for step in store.steps("ticket-1")]
            [('plan', 'kept'), ('pay', 'unsettled')]
        """
        from sessionstore.model import codec, step
        from sessionstore.model.journal import STEPS
        from sessionstore.model.state import SessionState

        stored = self._backend.read(check_id(session_id))
        state = codec.decode(stored.payload, SessionState, session_id, stored.file)
        return step.listed(self.journal(session_id, STEPS), state.steps_from)

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
            'ticket-1 is paused; it can be resumed. Somebody has to say what came of 1 step first.'
        """
        from sessionstore.operations.explain import explain

        return explain(self._backend, check_id(session_id))

    def history(self, session_id: str, *, limit: int | None = None) -> History:
        """Return the life of a session as it was kept: its beginning, checkpoints, and present.

        A damaged checkpoint is part of it. The names of the checkpoints tell most; an entry reads
        its file when its time, steps, size or damage is first looked at. An
        :class:`~sessionstore.AsyncSessionStore` reads all of them before it returns.

        Args:
            session_id: which one.
            limit: how many checkpoints to return, the newest; None for all.

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

        return history(self._backend, check_id(session_id), limit)

    def diff(
        self,
        session_id: str,
        a: str | None = None,
        b: str | None = None,
        *,
        everything: bool = False,
    ) -> StateDiff:
        """Return how two states of a session differ, value by value, each with its path.

        A state is named by the id of its checkpoint, a beginning or end that no other id has, its
        revision (``r12``) as far as that was kept, or ``current``.

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
